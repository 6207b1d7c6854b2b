package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hearthgate/hearthgate/internal/when"
	"github.com/spf13/cobra"
)

// sent is the answer to a command: its outcome, or that it waits.
type sent struct {
	ID      string         `json:"id"`
	Outcome string         `json:"outcome,omitempty"`
	Status  string         `json:"status,omitempty"`
	Message string         `json:"message,omitempty"`
	MS      *int64         `json:"ms,omitempty"` // with an outcome
	Until   int64          `json:"until,omitempty"`
	State   map[string]any `json:"state,omitempty"`
}

func sendCommand() *cobra.Command {
	var ttl, wait, cancel string
	var waiting bool
	c := &cobra.Command{
		Use:   "send DEVICE NAME=VALUE…",
		Short: "Send a command to a device and say its outcome",
		Example: `  hearthgate send living-room-lamp light/on=true light/brightness=40
  hearthgate send garden-sensor interval=60 --ttl 1h
  hearthgate send garden-sensor --waiting
  hearthgate send garden-sensor --cancel 4f2a`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 || len(args) == 1 && cancel == "" && !waiting {
				return errors.New("say the device and what to set: DEVICE NAME=VALUE…")
			}
			for _, a := range args[1:] {
				if name, _, ok := strings.Cut(a, "="); !ok || name == "" {
					return fmt.Errorf("want NAME=VALUE, not %q (a button: NAME=true)", a)
				}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if cancel != "" {
				path := devicePath(args[0], "/commands/"+url.PathEscape(cancel))
				return change(c, "DELETE", path, nil, func(w io.Writer) { fmt.Fprintln(w, "cancelled") })
			}
			if waiting {
				return showWaiting(c, args[0])
			}
			return send(c, args[0], args[1:], ttl, wait)
		},
	}
	waitFlags(c, &ttl, &wait)
	c.Flags().BoolVar(&waiting, "waiting", false, "list the commands that have no outcome yet")
	c.Flags().StringVar(&cancel, "cancel", "", "take back the waiting command of this id")
	return c
}

func send(c *cobra.Command, device string, settings []string, ttl, wait string) error {
	a, err := adminOf(c)
	if err != nil {
		return err
	}
	in := map[string]any{"set": asSet(settings)}
	q, err := withTimes(in, ttl, wait)
	if err != nil {
		return err
	}
	var out sent
	if err := a.call(c.Context(), http.MethodPost, devicePath(device, "/command?"+q.Encode()), in, &out); err != nil {
		return err
	}
	if err := a.show(out, func(w io.Writer) { printSent(w, device, out) }); err != nil {
		return err
	}
	if out.Outcome != "ok" && out.Status == "" {
		return quietError{errors.New(out.Outcome)}
	}
	return nil
}

// showWaiting lists what waits for a device or is on its way.
func showWaiting(c *cobra.Command, device string) error {
	a, err := adminOf(c)
	if err != nil {
		return err
	}
	var out []struct {
		ID     string                     `json:"id"`
		Set    map[string]json.RawMessage `json:"set"`
		Stored bool                       `json:"stored"`
		Sent   bool                       `json:"sent"`
		Until  int64                      `json:"until"`
	}
	if err := a.call(c.Context(), http.MethodGet, devicePath(device, "/commands"), nil, &out); err != nil {
		return err
	}
	return a.show(out, func(w io.Writer) {
		if len(out) == 0 {
			fmt.Fprintf(w, "Nothing waits for %s.\n", device)
			return
		}
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "ID\tSET\tSTATE\tUNTIL")
		for _, p := range out {
			var values []string
			for _, name := range sortedKeys(p.Set) {
				values = append(values, name+"="+string(p.Set[name]))
			}
			state := "waiting"
			if p.Sent {
				state = "sent"
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", p.ID, strings.Join(values, " "), state, time.UnixMilli(p.Until).Format(time.DateTime))
		}
		_ = t.Flush()
	})
}

// waitFlags are those of everything that sends commands.
func waitFlags(c *cobra.Command, ttl, wait *string) {
	c.Flags().StringVar(ttl, "ttl", "", "let it wait for the device so long: 30s, 1h, 7d")
	c.Flags().StringVar(wait, "wait", "", "wait so long for the outcome (default: until a device that is awake has answered)")
}

// withTimes puts --ttl into the command and --wait into the query that goes with it.
func withTimes(in map[string]any, ttl, wait string) (url.Values, error) {
	q := url.Values{"values": {"text"}}
	if ttl != "" {
		if d, err := when.Duration(ttl); err != nil || d == 0 {
			return nil, usageError{fmt.Errorf("--ttl: want a duration above 0, such as 30s, 1h or 7d, not %q", ttl)}
		}
		in["ttl"] = ttl
	}
	if wait != "" {
		if _, err := when.Duration(wait); err != nil {
			return nil, usageError{fmt.Errorf("--wait: %w", err)}
		}
		q.Set("wait", wait)
	}
	return q, nil
}

// orderedSet is a JSON object that keeps the order of its names.
type orderedSet [][2]string

// asSet splits name=value. The values go as texts; the gateway reads them as
// what the device's description says they are.
func asSet(settings []string) orderedSet {
	var set orderedSet
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		set = append(set, [2]string{name, value})
	}
	return set
}

func (s orderedSet) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, kv := range s {
		if i > 0 {
			b = append(b, ',')
		}
		for j, text := range kv {
			q, err := json.Marshal(text)
			if err != nil {
				return nil, err
			}
			if b = append(b, q...); j == 0 {
				b = append(b, ':')
			}
		}
	}
	return append(b, '}'), nil
}

func printSent(w io.Writer, device string, s sent) {
	if s.Status != "" {
		fmt.Fprintf(w, "%s until %s (id %s; hearthgate send %s --cancel %s takes it back)\n",
			s.Status, time.UnixMilli(s.Until).Format(time.DateTime), s.ID, device, s.ID)
		return
	}
	fmt.Fprint(w, s.Outcome)
	if s.MS != nil {
		fmt.Fprintf(w, " in %d ms", *s.MS)
	}
	if s.Message != "" {
		fmt.Fprintf(w, ": %s", s.Message)
	}
	fmt.Fprintln(w)
	for _, name := range sortedKeys(s.State) {
		fmt.Fprintf(w, "  %s = %v\n", name, s.State[name])
	}
}
