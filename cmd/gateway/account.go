package main

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

var roles = []string{"read", "control", "admin"}

func tokenCommand() *cobra.Command {
	var role string
	add := &cobra.Command{Use: "add [NAME]", Short: "Make a token for the API and print it, once", Args: cobra.MaximumNArgs(1),
		Long:    "Make a token for the API and print it, once. Without a name it gets one; a\nname that is a role (token add read) is the role, too.",
		Example: "  hearthgate token add dashboard --role control",
		RunE: func(c *cobra.Command, args []string) error {
			if !slices.Contains(roles, role) {
				return usageError{fmt.Errorf("--role: want one of %s, not %q", strings.Join(roles, ", "), role)}
			}
			a, err := adminOf(c)
			if err != nil {
				return err
			}
			var out struct {
				Name  string `json:"name"`
				Role  string `json:"role"`
				Token string `json:"token"`
			}
			name, role := nameAndRole(args, role, c.Flags().Changed("role"))
			if err := a.call(c.Context(), "POST", "/api/v1/tokens", map[string]string{"name": name, "role": role}, &out); err != nil {
				return err
			}
			return a.show(out, func(w io.Writer) { fmt.Fprintln(w, out.Token) })
		}}
	add.Flags().StringVar(&role, "role", "control", "read, control (read and send commands) or admin")
	list := &cobra.Command{Use: "list", Short: "The tokens, without their secrets", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		a, err := adminOf(c)
		if err != nil {
			return err
		}
		var out []struct {
			Name    string `json:"name"`
			Role    string `json:"role"`
			Created int64  `json:"created"`
		}
		if err := a.call(c.Context(), "GET", "/api/v1/tokens", nil, &out); err != nil {
			return err
		}
		return a.show(out, func(w io.Writer) {
			t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "NAME\tROLE\tAGE")
			for _, k := range out {
				fmt.Fprintf(t, "%s\t%s\t%s\n", k.Name, k.Role, ago(k.Created))
			}
			_ = t.Flush()
		})
	}}
	remove := &cobra.Command{Use: "remove NAME", Short: "End a token", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		return change(c, "DELETE", "/api/v1/tokens/"+url.PathEscape(args[0]), nil, func(w io.Writer) {
			fmt.Fprintf(w, "The token %s no longer works.\n", args[0])
		})
	}}
	return group("token", "Tokens for the HTTP API", add, list, remove)
}

// nameAndRole completes what token add was given.
func nameAndRole(args []string, role string, said bool) (string, string) {
	if len(args) == 1 && (said || !slices.Contains(roles, args[0])) {
		return args[0], role
	}
	if len(args) == 1 {
		role = args[0]
	}
	return role + "-" + strings.ToLower(rand.Text()[:6]), role
}

func mqttCommand() *cobra.Command {
	var password string
	add := &cobra.Command{Use: "add NAME", Short: "Make an account, or change its password (asked for, or from standard input)", Args: cobra.ExactArgs(1),
		Example: "  echo $PASSWORD | hearthgate mqtt user add homeassistant",
		RunE: func(c *cobra.Command, args []string) error {
			if password == "" {
				if isTerminal(c.InOrStdin()) {
					fmt.Fprint(c.ErrOrStderr(), "Password: ")
				}
				line, err := bufio.NewReader(c.InOrStdin()).ReadString('\n')
				if err != nil && err != io.EOF {
					return err
				}
				password = strings.TrimRight(line, "\r\n")
			}
			path := "/api/v1/mqtt/users/" + url.PathEscape(args[0])
			return change(c, "PUT", path, map[string]string{"password": password}, func(w io.Writer) {
				fmt.Fprintf(w, "The MQTT account %s is ready.\n", args[0])
			})
		}}
	add.Flags().StringVar(&password, "password", "", "the password (others on this machine may see it; standard input is safer)")
	list := &cobra.Command{Use: "list", Short: "The accounts", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		a, err := adminOf(c)
		if err != nil {
			return err
		}
		var out []string
		if err := a.call(c.Context(), "GET", "/api/v1/mqtt/users", nil, &out); err != nil {
			return err
		}
		return a.show(out, func(w io.Writer) {
			if len(out) == 0 {
				fmt.Fprintln(w, "There are no accounts: only programs on this machine can connect.")
			}
			for _, name := range out {
				fmt.Fprintln(w, name)
			}
		})
	}}
	remove := &cobra.Command{Use: "remove NAME", Short: "End an account", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		return change(c, "DELETE", "/api/v1/mqtt/users/"+url.PathEscape(args[0]), nil, func(w io.Writer) {
			fmt.Fprintf(w, "The MQTT account %s is gone.\n", args[0])
		})
	}}
	return group("mqtt", "The MQTT side", mqttGC(), group("user", "Accounts of MQTT clients on the network", add, list, remove))
}

func mqttGC() *cobra.Command {
	var dry bool
	c := &cobra.Command{Use: "gc", Short: "Empty retained topics that are left of earlier names, prefixes or data",
		Long: "Empty the retained topics on the broker that are this gateway's but no longer in\nuse: below a base topic or discovery prefix that was given up while the broker was\naway, or of devices that are gone. Other gateways' topics are left alone.",
		Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
			a, err := adminOf(c)
			if err != nil {
				return err
			}
			var out struct {
				Topics []string `json:"topics"`
			}
			if err := a.call(c.Context(), "POST", fmt.Sprintf("/api/v1/mqtt/gc?dry_run=%v", dry), nil, &out); err != nil {
				return err
			}
			return a.show(out, func(w io.Writer) {
				for _, topic := range out.Topics {
					fmt.Fprintln(w, topic)
				}
				did := "were emptied"
				if dry {
					did = "would be emptied"
				}
				fmt.Fprintf(w, "%d topics %s.\n", len(out.Topics), did)
			})
		}}
	c.Flags().BoolVar(&dry, "dry-run", false, "only say which")
	return c
}
