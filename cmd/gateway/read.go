package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func watchCommand() *cobra.Command {
	return &cobra.Command{Use: "watch [DEVICE]", Short: "Show what devices say as it is committed", Args: cobra.MaximumNArgs(1), RunE: func(c *cobra.Command, args []string) error {
		a, err := adminOf(c)
		if err != nil {
			return err
		}
		path := "/api/v1/live"
		if len(args) == 1 {
			path += "?device=" + url.QueryEscape(args[0])
		}
		resp, err := a.do(c.Context(), "GET", path, nil)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if a.json {
				fmt.Fprintln(a.out, lines.Text())
			} else {
				printLive(a.out, lines.Bytes())
			}
		}
		if err := lines.Err(); err != nil && c.Context().Err() == nil {
			return fmt.Errorf("the gateway went away: %w", err)
		}
		return nil
	}}
}

func printLive(w io.Writer, line []byte) {
	var e struct {
		Device, N, VS, Cause string
		Received             int64
		V                    json.Number
		VB                   *bool
		State                any // a presence, or false for what changed no state
		Skipped              uint64
	}
	if json.Unmarshal(line, &e) != nil {
		return
	}
	at := time.UnixMilli(e.Received).Format("15:04:05")
	presence, isPresence := e.State.(string)
	switch {
	case e.Skipped > 0:
		fmt.Fprintf(w, "… %d entries were too fast to show\n", e.Skipped)
	case isPresence:
		fmt.Fprintf(w, "%s  %-24s %s (%s)\n", at, e.Device, presence, e.Cause)
	default:
		value := e.VS
		if e.V != "" {
			value = e.V.String()
		} else if e.VB != nil {
			value = map[bool]string{true: "ON", false: "OFF"}[*e.VB]
		}
		fmt.Fprintf(w, "%s  %-24s %-24s %s\n", at, e.Device, e.N, value)
	}
}

func exportCommand() *cobra.Command {
	c := &cobra.Command{Use: "export [DEVICE]", Short: "Everything that was said, as CSV or JSON lines",
		Long: `Everything that was said, as CSV or JSON lines, in the order in which it came.

  time      when the device measured it, in seconds since 1970 ("t" in JSON)
  received  when the gateway had it, in milliseconds since 1970
  seq       which frame since the device's start ("boot") said it
  command   the command whose result said it, where there is no seq`,
		Args:    cobra.MaximumNArgs(1),
		Example: "  hearthgate export --format csv --output home.csv"}
	span := spanFlags(c)
	format := c.Flags().String("format", "csv", "csv or jsonl")
	output := c.Flags().StringP("output", "o", "", "file to write (default: standard output)")
	quietFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		a, err := adminOf(c)
		if err != nil {
			return err
		}
		q, err := span()
		if err != nil {
			return err
		}
		q.Set("format", *format)
		path := "/api/v1/export?"
		if len(args) == 1 {
			path = devicePath(args[0], "/export?")
		}
		resp, err := a.do(c.Context(), "GET", path+q.Encode(), nil)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		bar := progressOf(c, "Exporting")
		if *output == "" {
			if isTerminal(a.out) {
				bar = &progress{} // the values are progress enough
			}
			_, err = io.Copy(a.out, bar.reader(resp.Body))
		} else {
			err = save(*output, bar.reader(resp.Body))
		}
		bar.end()
		return err
	}
	return c
}

// save writes a whole file or none.
func save(path string, from io.Reader) error {
	return saveAs(path, func(f *os.File) error {
		_, err := io.Copy(f, from)
		return err
	})
}

// saveAs gives a file its name when fill has written all of it.
func saveAs(path string, fill func(*os.File) error) error {
	f, err := os.CreateTemp(dirOf(path), ".export-*")
	if err != nil {
		return err
	}
	err = fill(f)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

func dirOf(path string) string {
	for i := len(path) - 1; i >= 0; i-- {
		if os.IsPathSeparator(path[i]) {
			return path[:i+1]
		}
	}
	return "."
}

func statusCommand() *cobra.Command {
	c := &cobra.Command{Use: "status", Short: "How the gateway is", Args: cobra.NoArgs}
	all := c.Flags().Bool("all", false, "every number there is")
	c.RunE = func(c *cobra.Command, _ []string) error {
		a, err := adminOf(c)
		if err != nil {
			return err
		}
		var out map[string]any
		if err := a.call(c.Context(), "GET", "/api/v1/status", nil, &out); err != nil {
			return err
		}
		if len(out) == 0 {
			return errNotRunning
		}
		return a.show(out, func(w io.Writer) {
			t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			if *all {
				printTree(t, "", out)
			} else {
				printSummary(t, out)
			}
			_ = t.Flush()
		})
	}
	return c
}

// printSummary says in a few lines what a person wants to know first.
func printSummary(w io.Writer, s map[string]any) {
	get := func(part, name string) any {
		m, _ := s[part].(map[string]any)
		return m[name]
	}
	number := func(part, name string) int64 {
		f, _ := get(part, name).(float64)
		return int64(f)
	}
	up := time.Duration(number("gateway", "uptime_s")) * time.Second
	fmt.Fprintf(w, "gateway\t%v, version %v, up %s, %d MB of memory\n",
		get("gateway", "id"), get("gateway", "version"), up, number("gateway", "memory_bytes")>>20)
	store := "healthy"
	if get("store", "healthy") != true {
		store = fmt.Sprintf("FAILING: %v", get("store", "err"))
	}
	if get("store", "in_memory") == true {
		store += fmt.Sprintf("; IN MEMORY ONLY since %s", time.UnixMilli(number("store", "in_memory_since")).Format(time.DateTime))
	}
	fmt.Fprintf(w, "store\t%s, %d entries in %d commits since the start, %d KB\n",
		store, number("store", "entries"), number("store", "commits"), number("store", "file_bytes")>>10)
	fmt.Fprintf(w, "card\t%s\n", sayWear(s["wear"]))
	fmt.Fprintf(w, "devices\t%d connected, %d frames acknowledged\n", number("links", "sessions"), number("links", "acked"))
	mqtt := "off"
	switch get("mqtt", "connected") {
	case true:
		mqtt = fmt.Sprintf("connected to %v, %d entries behind", get("mqtt", "broker"), number("mqtt", "lag"))
	case false:
		mqtt = fmt.Sprintf("NOT CONNECTED to %v, %d entries wait: %v", get("mqtt", "broker"), number("mqtt", "lag"), get("mqtt", "err"))
	}
	fmt.Fprintf(w, "mqtt\t%s\n", mqtt)
	for _, odd := range [][2]string{{"store", "damaged"}, {"store", "dropped"}, {"links", "panics"}, {"links", "clashes"}, {"mqtt", "lost"}, {"mqtt", "dropped"}, {"broker", "dropped"}} {
		if n := number(odd[0], odd[1]); n > 0 {
			fmt.Fprintf(w, "look at\t%s.%s %d\n", odd[0], odd[1], n)
		}
	}
}

// sayWear says what the card goes through, from the numbers of the status.
func sayWear(part any) string {
	m, _ := part.(map[string]any)
	number := func(name string) float64 { f, _ := m[name].(float64); return f }
	said := fmt.Sprintf("%.1f MB in %.0f syncs written today, %.0f bytes a sample",
		number("bytes_today")/1e6, number("syncs_today"), number("per_sample"))
	if oldest := number("oldest_raw"); oldest > 0 {
		said += "; values since " + time.UnixMilli(int64(oldest)).UTC().Format(time.DateOnly)
	}
	switch life := number("life_years"); {
	case life == 0:
		return said
	case life > 100:
		return said + fmt.Sprintf("; %.1f GB a year, a 32 GB card bears that for more than 100 years", number("gb_year"))
	default:
		return said + fmt.Sprintf("; %.1f GB a year, a 32 GB card bears that for about %.0f years", number("gb_year"), life)
	}
}

func printTree(w io.Writer, prefix string, m map[string]any) {
	for _, k := range sortedKeys(m) {
		if sub, ok := m[k].(map[string]any); ok {
			printTree(w, prefix+k+".", sub)
			continue
		}
		v := m[k]
		if f, ok := v.(float64); ok && f == float64(int64(f)) {
			v = int64(f)
		}
		fmt.Fprintf(w, "%s%s\t%v\n", prefix, k, v)
	}
}

func cursorCommand() *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "The readers of the log and how far behind they are", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		a, err := adminOf(c)
		if err != nil {
			return err
		}
		var out []struct {
			Name     string     `json:"name"`
			Position uint64     `json:"position"`
			Lag      uint64     `json:"lag"`
			Bytes    int64      `json:"bytes"`
			Oldest   *time.Time `json:"oldest,omitempty"`
			Open     bool       `json:"open"`
		}
		if err := a.call(c.Context(), "GET", "/api/v1/cursors", nil, &out); err != nil {
			return err
		}
		return a.show(out, func(w io.Writer) {
			t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "NAME\tPOSITION\tBEHIND\tKB\tOLDEST UNREAD\tREADING")
			for _, cur := range out {
				oldest := "-"
				if cur.Oldest != nil {
					oldest = time.Since(*cur.Oldest).Round(time.Second).String() + " ago"
				}
				fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%s\t%v\n", cur.Name, cur.Position, cur.Lag, (cur.Bytes+999)/1000, oldest, cur.Open)
			}
			_ = t.Flush()
		})
	}}
	remove := &cobra.Command{Use: "remove NAME", Short: "Drop a reader that is gone for good", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		return change(c, "DELETE", "/api/v1/cursors/"+url.PathEscape(args[0]), nil, func(w io.Writer) {
			fmt.Fprintf(w, "The cursor %s is dropped.\n", args[0])
		})
	}}
	return group("cursor", "Readers of the log", list, remove)
}
