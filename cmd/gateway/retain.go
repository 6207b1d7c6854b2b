package main

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// keptLevels are the levels of history as flags, and as the API names them.
var keptLevels = []struct{ name, what string }{
	{"raw", "values as they were said"}, {"5m", "rows of five minutes"}, {"1h", "rows of an hour"}, {"1d", "rows of a day"},
}

func retainCommand() *cobra.Command {
	return group("retain", "How long history is kept", retainList(), retainSet(), retainRemove())
}

func retainPath(name string) string {
	parts := strings.Split(name, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return "/api/v1/retain/" + strings.Join(parts, "/")
}

func retainList() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "How long everything is kept, and what is kept for another time", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		a, err := adminOf(c)
		if err != nil {
			return err
		}
		var out struct {
			Default   map[string]string   `json:"default"`
			Overrides []map[string]string `json:"overrides"`
		}
		if err := a.call(c.Context(), "GET", "/api/v1/retain", nil, &out); err != nil {
			return err
		}
		return a.show(out, func(w io.Writer) {
			t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "OF\tRAW\t5M\t1H\t1D")
			line := func(of string, k map[string]string) {
				fmt.Fprint(t, of)
				for _, l := range keptLevels {
					fmt.Fprint(t, "\t", k[l.name])
				}
				fmt.Fprintln(t)
			}
			line("everything", out.Default)
			for _, k := range out.Overrides {
				line(k["name"], k)
			}
			_ = t.Flush()
		})
	}}
}

func retainSet() *cobra.Command {
	c := &cobra.Command{
		Use:   "set DEVICE[/COMPONENT]",
		Short: "Keep the history of a device or of a part of it for another time",
		Long: `Keep the history of a device, a component (kitchen/desk) or a value of one
(kitchen/desk/power) for another time than everything else. The longest name that
fits counts. What is not said is as for everything; a level is kept at least as long
as the finer ones. What is over then goes within the hour, samples by days and rows of five
minutes by months, and does not come back.`,
		Example: `  hearthgate retain set kitchen/motion --raw 7d
  hearthgate retain set meter --raw 365d --5m forever`,
		Args: cobra.ExactArgs(1),
	}
	for _, l := range keptLevels {
		c.Flags().String(l.name, "", "how long "+l.what+" are kept: 30d, 36h, forever")
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		in := map[string]string{}
		for _, l := range keptLevels {
			if s, _ := c.Flags().GetString(l.name); s != "" {
				in[l.name] = s
			}
		}
		if len(in) == 0 {
			return usageError{fmt.Errorf("say how long: --raw, --5m, --1h or --1d, such as --raw 30d")}
		}
		a, err := adminOf(c)
		if err != nil {
			return err
		}
		var out map[string]string
		if err := a.call(c.Context(), "PUT", retainPath(args[0]), in, &out); err != nil {
			return err
		}
		return a.show(out, func(w io.Writer) {
			fmt.Fprintf(w, "%s is kept: raw %s, 5m %s, 1h %s, 1d %s.\n", out["name"], out["raw"], out["5m"], out["1h"], out["1d"])
		})
	}
	return c
}

func retainRemove() *cobra.Command {
	return &cobra.Command{Use: "remove DEVICE[/COMPONENT]", Short: "Keep it as long as everything else again", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		return change(c, "DELETE", retainPath(args[0]), nil, func(w io.Writer) {
			fmt.Fprintf(w, "%s is kept as everything is.\n", args[0])
		})
	}}
}
