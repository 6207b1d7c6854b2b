package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func deviceCommand() *cobra.Command {
	return group("device", "Who belongs to the home",
		deviceAdd(), deviceList(), deviceShow(), deviceRename(), deviceRotate(), deviceRevoke(), deviceRemove())
}

type shownDevice struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Area     string `json:"area,omitempty"`
	State    string `json:"state"`
	Since    int64  `json:"since,omitempty"`
	Cause    string `json:"cause,omitempty"`
	NextWake int64  `json:"next_wake,omitempty"`

	Manufacturer string `json:"manufacturer,omitempty"`
	Model        string `json:"model,omitempty"`
	Firmware     string `json:"firmware,omitempty"`
	Created      int64  `json:"created"`
	Revoked      bool   `json:"revoked,omitempty"`
	Rotating     bool   `json:"rotating,omitempty"`
	Restarts     uint64 `json:"restarts,omitempty"`
	Gaps         uint64 `json:"gaps,omitempty"`
	Waiting      int    `json:"waiting,omitempty"`
	Points       []struct {
		Name     string          `json:"name"`
		Kind     string          `json:"kind"`
		Unit     string          `json:"unit,omitempty"`
		Settable bool            `json:"settable,omitempty"`
		Value    json.RawMessage `json:"value,omitempty"`
		Time     int64           `json:"time,omitempty"`
	} `json:"points,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

type givenToken struct {
	ID    string `json:"id"`
	Token string `json:"token"`
}

func deviceAdd() *cobra.Command {
	var name, prefix string
	var count int
	c := &cobra.Command{
		Use:   "add ID | add --count N --prefix P",
		Short: "Add a device and print its token, once",
		Example: `  hearthgate device add kitchen --name "Kitchen sensor"
  hearthgate device add --count 200 --prefix sim --json > tokens.json`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 1 && (count != 0 || prefix != ""):
				return fmt.Errorf("give either an id, or --count and --prefix")
			case len(args) == 1 || len(args) == 0 && count > 0 && prefix != "":
				return nil
			}
			return fmt.Errorf("say the device's id, such as kitchen, or --count N --prefix P for a fleet")
		},
		RunE: func(c *cobra.Command, args []string) error {
			a, err := adminOf(c)
			if err != nil {
				return err
			}
			in := map[string]any{"prefix": prefix, "count": count}
			if len(args) == 1 {
				in = map[string]any{"id": args[0], "name": name}
			}
			var out []givenToken
			if err := a.call(c.Context(), "POST", "/api/v1/devices", in, &out); err != nil {
				return err
			}
			var shown any = out
			if len(args) == 1 {
				shown = out[0]
			}
			return a.show(shown, func(w io.Writer) {
				for _, g := range out {
					fmt.Fprintln(w, g.Token)
				}
				if len(args) == 1 {
					fmt.Fprintf(c.ErrOrStderr(), "This is the token of %s. It is shown this once: give it to the device now.\n", args[0])
				}
			})
		},
	}
	c.Flags().StringVar(&name, "name", "", "display name")
	c.Flags().IntVar(&count, "count", 0, "how many devices of a fleet")
	c.Flags().StringVar(&prefix, "prefix", "", "beginning of their ids: P-001, P-002 …")
	return c
}

func deviceList() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "All devices and how they are", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		a, err := adminOf(c)
		if err != nil {
			return err
		}
		var out []shownDevice
		if err := a.call(c.Context(), "GET", "/api/v1/devices", nil, &out); err != nil {
			return err
		}
		return a.show(out, func(w io.Writer) {
			if len(out) == 0 {
				fmt.Fprintln(w, "No devices yet. Add one: hearthgate device add kitchen")
				return
			}
			t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "ID\tNAME\tSTATE\tSINCE\tMODEL")
			for _, d := range out {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", d.ID, d.Name, d.State, ago(d.Since), d.Model)
			}
			_ = t.Flush()
		})
	}}
}

// ago says how long it is since a moment in ms since 1970.
func ago(ms int64) string {
	if ms == 0 {
		return "-"
	}
	d := time.Since(time.UnixMilli(ms))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

func devicePath(id string, rest string) string {
	return "/api/v1/devices/" + url.PathEscape(id) + rest
}

func deviceShow() *cobra.Command {
	var log bool
	c := &cobra.Command{Use: "show ID", Short: "One device and its newest values, or what happened to it lately", Args: cobra.ExactArgs(1)}
	c.Flags().BoolVar(&log, "log", false, "what happened to it: presence, refused frames, commands that were not carried out, its own lines")
	c.RunE = func(c *cobra.Command, args []string) error {
		a, err := adminOf(c)
		if err != nil {
			return err
		}
		if log {
			return showLog(c, a, args[0])
		}
		var d shownDevice
		if err := a.call(c.Context(), "GET", devicePath(args[0], ""), nil, &d); err != nil {
			return err
		}
		return a.show(d, func(w io.Writer) { printDevice(w, d) })
	}
	return c
}

type shownNote struct {
	Time  int64  `json:"time"`
	About string `json:"about"`
	Text  string `json:"text"`
	Times int    `json:"times"`
}

func showLog(c *cobra.Command, a *admin, device string) error {
	var notes []shownNote
	if err := a.call(c.Context(), "GET", devicePath(device, "/log"), nil, &notes); err != nil {
		return err
	}
	return a.show(notes, func(w io.Writer) {
		if len(notes) == 0 {
			fmt.Fprintln(w, "Nothing has happened to it since the gateway's start.")
			return
		}
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, n := range notes {
			times := ""
			if n.Times > 1 {
				times = fmt.Sprintf(" (%d times)", n.Times)
			}
			fmt.Fprintf(t, "%s\t%s\t%s%s\n", time.UnixMilli(n.Time).Format("2006-01-02 15:04:05"), n.About, n.Text, times)
		}
		_ = t.Flush()
	})
}

// stateText says since when, if the device was ever there.
func stateText(d shownDevice) string {
	if d.Since == 0 {
		return d.State
	}
	return d.State + " for " + ago(d.Since)
}

func printDevice(w io.Writer, d shownDevice) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"id", d.ID}, {"name", d.Name}, {"area", d.Area}, {"state", stateText(d)},
		{"model", d.Manufacturer + " " + d.Model}, {"firmware", d.Firmware},
	} {
		if row[1] != "" && row[1] != " " {
			fmt.Fprintf(t, "%s\t%s\n", row[0], row[1])
		}
	}
	if d.Restarts > 0 {
		fmt.Fprintf(t, "restarts\t%d\n", d.Restarts)
	}
	if d.Gaps > 0 {
		fmt.Fprintf(t, "data gaps\t%d: it had to drop what it could not send\n", d.Gaps)
	}
	if d.Waiting > 0 {
		fmt.Fprintf(t, "commands\t%d waiting: hearthgate send %s --waiting\n", d.Waiting, d.ID)
	}
	_ = t.Flush()
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, p := range d.Points {
		settable := ""
		if p.Settable {
			settable = "settable"
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\n", p.Name, valueText(p.Value, p.Unit), ago(p.Time), p.Kind, settable)
	}
	_ = t.Flush()
	for _, warning := range d.Warnings {
		fmt.Fprintf(w, "  warning: %s\n", warning)
	}
}

func deviceRename() *cobra.Command {
	var area string
	c := &cobra.Command{Use: "rename ID NAME", Short: "Change the display name (the id never changes)", Args: cobra.ExactArgs(2), RunE: func(c *cobra.Command, args []string) error {
		in := map[string]any{"name": args[1]}
		if c.Flags().Changed("area") {
			in["area"] = area
		}
		return change(c, "PATCH", devicePath(args[0], ""), in, func(w io.Writer) {
			fmt.Fprintf(w, "%s is now called %s.\n", args[0], args[1])
		})
	}}
	c.Flags().StringVar(&area, "area", "", "the room it is in")
	return c
}

// change is a call whose answer is shown as JSON or as one sentence.
func change(c *cobra.Command, method, path string, in any, say func(w io.Writer)) error {
	a, err := adminOf(c)
	if err != nil {
		return err
	}
	var out map[string]any
	if err := a.call(c.Context(), method, path, in, &out); err != nil {
		return err
	}
	return a.show(out, say)
}

func deviceRotate() *cobra.Command {
	return &cobra.Command{Use: "rotate ID", Short: "Give a device a new token; the old one holds until the new one is used", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		a, err := adminOf(c)
		if err != nil {
			return err
		}
		var out struct {
			givenToken
			Sent bool `json:"sent"`
		}
		if err := a.call(c.Context(), "POST", devicePath(args[0], "/rotate"), nil, &out); err != nil {
			return err
		}
		return a.show(out, func(w io.Writer) {
			fmt.Fprintln(w, out.Token)
			if out.Sent {
				fmt.Fprintf(c.ErrOrStderr(), "The device is connected and was given this token as well.\n")
			}
		})
	}}
}

func deviceRevoke() *cobra.Command {
	return &cobra.Command{Use: "revoke ID", Short: "Cut a device off now and refuse it from then on (rotate lets it back)", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		return change(c, "POST", devicePath(args[0], "/revoke"), nil, func(w io.Writer) {
			fmt.Fprintf(w, "%s is cut off. hearthgate device rotate %s would let it back with a new token.\n", args[0], args[0])
		})
	}}
}

func deviceRemove() *cobra.Command {
	c := &cobra.Command{Use: "remove ID", Short: "Forget a device; its id is never given again", Args: cobra.ExactArgs(1),
		Long: `Forget a device: its token, its name, what it is, its newest values, and what the
broker keeps of it. Its id is never given again. What it said stays in the history
(hearthgate export) until that is as old as store.retain says.`}
	yes := c.Flags().Bool("yes", false, "do not ask")
	c.RunE = func(c *cobra.Command, args []string) error {
		id := args[0]
		if !*yes {
			ok, err := confirmed(c.InOrStdin(), c.ErrOrStderr(),
				fmt.Sprintf("%s is forgotten for good, and its id is never given again; revoke only cuts it off. Remove it?", id))
			if err != nil {
				return err
			}
			if !ok {
				return quietError{errors.New("nothing was removed")}
			}
		}
		return change(c, "DELETE", devicePath(id, ""), nil, func(w io.Writer) {
			fmt.Fprintf(w, "%s is no longer part of the home. What it said stays in hearthgate export until it is older than store.retain.\n", id)
		})
	}
	return c
}
