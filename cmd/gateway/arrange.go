package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// shownGroup is a group as the API shows it.
type shownGroup struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Members []string `json:"members,omitempty"`
	Area    string   `json:"area,omitempty"`
	Kind    string   `json:"kind,omitempty"`
	Now     []string `json:"now"`
}

func groupCommand() *cobra.Command {
	return group("group", "Components that are commanded together", groupAdd(), groupList(), groupSet(),
		removal("group", "End a group; its members stay as they are"))
}

func groupAdd() *cobra.Command {
	var name, area, kind string
	c := &cobra.Command{
		Use:   "add ID [DEVICE/COMPONENT…]",
		Short: "Make a group, or change it",
		Long: "Make a group of the components that are named, of all of a kind in an area, or\n" +
			"both. Those by kind and area are looked up at each command, so that a lamp which\n" +
			"comes into the room belongs to it.",
		Example: "  hearthgate group add evening hall-lamp/light desk-plug/plug\n" +
			"  hearthgate group add kitchen --kind light --area Kitchen\n" +
			"  hearthgate group add all-covers --kind cover",
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 && kind == "" {
				return usageError{errors.New("say who belongs to it: DEVICE/COMPONENT such as hall-lamp/light, or --kind light")}
			}
			a, err := adminOf(c)
			if err != nil {
				return err
			}
			var out shownGroup
			in := map[string]any{"name": name, "area": area, "kind": kind, "members": args[1:]}
			if err := a.call(c.Context(), "PUT", "/api/v1/groups/"+url.PathEscape(args[0]), in, &out); err != nil {
				return err
			}
			return a.show(out, func(w io.Writer) {
				fmt.Fprintf(w, "%s has %s.\n", out.ID, membersText(out.Now))
			})
		},
	}
	c.Flags().StringVar(&name, "name", "", "display name")
	c.Flags().StringVar(&area, "area", "", "with --kind: only those in this area")
	c.Flags().StringVar(&kind, "kind", "", "all components of this kind: light, switch, cover …")
	return c
}

func membersText(members []string) string {
	switch len(members) {
	case 0:
		return "no members at the moment"
	case 1:
		return "one member: " + members[0]
	}
	return fmt.Sprintf("%d members: %s", len(members), strings.Join(members, ", "))
}

func groupList() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "The groups and their members at this moment", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		a, err := adminOf(c)
		if err != nil {
			return err
		}
		var out []shownGroup
		if err := a.call(c.Context(), "GET", "/api/v1/groups", nil, &out); err != nil {
			return err
		}
		return a.show(out, func(w io.Writer) {
			t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "ID\tNAME\tRULE\tMEMBERS")
			for _, g := range out {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", g.ID, g.Name, strings.TrimSpace(g.Kind+" "+g.Area), strings.Join(g.Now, " "))
			}
			_ = t.Flush()
		})
	}}
}

func groupSet() *cobra.Command {
	var ttl, wait string
	c := &cobra.Command{
		Use:   "set ID VALUE | ID ATTRIBUTE=VALUE…",
		Short: "Command all members and say each outcome",
		Example: "  hearthgate group set kitchen OFF\n" +
			"  hearthgate group set kitchen on=true brightness=40\n" +
			"  hearthgate group set all-covers close",
		Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			in := map[string]any{}
			switch {
			case strings.Contains(args[1], "="):
				for _, s := range args[1:] {
					if name, _, ok := strings.Cut(s, "="); !ok || name == "" {
						return usageError{fmt.Errorf("want ATTRIBUTE=VALUE, not %q", s)}
					}
				}
				in["set"] = asSet(args[1:])
			case len(args) == 2:
				in["set"] = args[1]
			default:
				return usageError{errors.New("want one VALUE, or some ATTRIBUTE=VALUE")}
			}
			return commandMany(c, "/api/v1/groups/"+url.PathEscape(args[0]), in, ttl, wait)
		},
	}
	waitFlags(c, &ttl, &wait)
	return c
}

func sceneCommand() *cobra.Command {
	return group("scene", "Named sets of values", sceneAdd(), sceneList(), sceneStart(),
		removal("scene", "End a scene"))
}

func sceneAdd() *cobra.Command {
	var name string
	c := &cobra.Command{
		Use:     "add ID DEVICE/NAME=VALUE…",
		Short:   "Make a scene, or change it",
		Example: "  hearthgate scene add film hall-lamp/light/on=false desk-lamp/light/brightness=10",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			for _, s := range args[1:] {
				if at, _, ok := strings.Cut(s, "="); !ok || !strings.Contains(at, "/") {
					return usageError{fmt.Errorf("want DEVICE/NAME=VALUE, not %q", s)}
				}
			}
			in := map[string]any{"name": name, "set": asSet(args[1:])}
			return change(c, "PUT", "/api/v1/scenes/"+url.PathEscape(args[0])+"?values=text", in, func(w io.Writer) {
				fmt.Fprintf(w, "The scene %s is ready: hearthgate scene start %s\n", args[0], args[0])
			})
		},
	}
	c.Flags().StringVar(&name, "name", "", "display name")
	return c
}

func sceneList() *cobra.Command {
	return &cobra.Command{Use: "list", Short: "The scenes and their values", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		a, err := adminOf(c)
		if err != nil {
			return err
		}
		var out []struct {
			ID   string                     `json:"id"`
			Name string                     `json:"name"`
			Set  map[string]json.RawMessage `json:"set"`
		}
		if err := a.call(c.Context(), "GET", "/api/v1/scenes", nil, &out); err != nil {
			return err
		}
		return a.show(out, func(w io.Writer) {
			t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "ID\tNAME\tVALUES")
			for _, s := range out {
				var values []string
				for _, at := range sortedKeys(s.Set) {
					values = append(values, at+"="+string(s.Set[at]))
				}
				fmt.Fprintf(t, "%s\t%s\t%s\n", s.ID, s.Name, strings.Join(values, " "))
			}
			_ = t.Flush()
		})
	}}
}

func sceneStart() *cobra.Command {
	var ttl, wait string
	c := &cobra.Command{Use: "start ID", Short: "Ask the devices of a scene for its values, and say each outcome", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return commandMany(c, "/api/v1/scenes/"+url.PathEscape(args[0]), map[string]any{}, ttl, wait)
		}}
	waitFlags(c, &ttl, &wait)
	return c
}

// removal is the command that removes a group or a scene.
func removal(what, short string) *cobra.Command {
	return &cobra.Command{Use: "remove ID", Short: short, Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		return change(c, "DELETE", "/api/v1/"+what+"s/"+url.PathEscape(args[0]), nil, func(w io.Writer) {
			fmt.Fprintf(w, "The %s %s is gone.\n", what, args[0])
		})
	}}
}

// sentToOne is what became of one member.
type sentToOne struct {
	sent
	Device string         `json:"device"`
	Set    map[string]any `json:"set"`
}

// commandMany commands all of a group or scene and prints a line a member.
func commandMany(c *cobra.Command, path string, in map[string]any, ttl, wait string) error {
	a, err := adminOf(c)
	if err != nil {
		return err
	}
	q, err := withTimes(in, ttl, wait)
	if err != nil {
		return err
	}
	var out struct {
		ID      string      `json:"id"`
		Results []sentToOne `json:"results"`
		Waiting []sentToOne `json:"waiting"`
	}
	if err := a.call(c.Context(), "POST", path+"/command?"+q.Encode(), in, &out); err != nil {
		return err
	}
	err = a.show(out, func(w io.Writer) {
		for _, s := range append(out.Results, out.Waiting...) {
			if s.Device != "" { // else there is no such group
				fmt.Fprintf(w, "%s: ", strings.Join(append([]string{s.Device}, sortedKeys(s.Set)...), " "))
			}
			printSent(w, s.Device, s.sent)
		}
	})
	for _, s := range out.Results {
		if err == nil && s.Outcome != "ok" {
			err = quietError{errors.New(s.Outcome)}
		}
	}
	return err
}
