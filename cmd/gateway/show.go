package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
)

func configCommand() *cobra.Command {
	var example bool
	c := &cobra.Command{Use: "config", Short: "Show every setting and where it is from: flags, the environment, the file, or the default", Args: cobra.NoArgs}
	c.Flags().BoolVar(&example, "example", false, "print an example file with all settings at their defaults")
	settingFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if example {
			_, err := fmt.Fprint(c.OutOrStdout(), exampleYAML)
			return err
		}
		cfg, from, err := configFrom(c)
		if err != nil {
			return err
		}
		asJSON, _ := c.Flags().GetBool("json")
		shown := map[string]string{}
		for _, s := range cfg.settings() {
			v := s.value.String()
			if s.secret && v != "" {
				v = "(set)"
			}
			shown[s.name] = v
			if !asJSON {
				fmt.Fprintf(c.OutOrStdout(), "%-22s %-22s %s\n", s.name, v, from[s.name])
			}
		}
		if asJSON {
			return json.NewEncoder(c.OutOrStdout()).Encode(shown)
		}
		return nil
	}
	return c
}
