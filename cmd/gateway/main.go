// Command gateway, installed as hearthgate, is the smart-home device gateway:
// one process, one data directory, nothing to set up.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// version is stamped in by the build (-ldflags "-X main.version=…").
var version = ""

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// usageError is a command line that makes no sense: exit code 2.
type usageError struct{ error }

// run is main with its inputs named. Exit codes: 0 done, 1 failed, 2 usage.
func run(ctx context.Context, args []string) int {
	root := rootCommand()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	var usage usageError
	if !errors.As(err, &usage) {
		var quiet quietError
		if !errors.As(err, &quiet) {
			fmt.Fprintln(os.Stderr, "hearthgate:", err)
		}
		return 1
	}
	fmt.Fprintf(os.Stderr, "hearthgate: %v\nSee '%s --help'.\n", err, cmd.CommandPath())
	return 2
}

// quietError failed, and what was printed already says how.
type quietError struct{ error }

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "hearthgate",
		Short:         "A smart-home device gateway: devices over wss, everything on disk, Home Assistant over MQTT",
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       versionText(),
		Args:          noSubcommand,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.PersistentFlags().String("data", "", "data directory (default "+defaultData()+")")
	root.PersistentFlags().String("config", "", "configuration file (YAML)")
	root.PersistentFlags().Bool("json", false, "output for scripts")
	root.AddCommand(
		serveCommand(), demoCommand(), deviceCommand(), groupCommand(), sceneCommand(), sendCommand(), watchCommand(),
		historyCommand(), exportCommand(), importCommand(), statusCommand(), cursorCommand(), retainCommand(), tokenCommand(),
		mqttCommand(), backupCommand(), restoreCommand(), checkCommand(), compactCommand(), configCommand(), doctorCommand(), versionCommand(),
	)
	wrapArgs(root)
	return root
}

// wrapArgs makes every complaint about arguments a usage error.
func wrapArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			if err == nil {
				return nil
			}
			if strings.Contains(err.Error(), "arg(s)") { // cobra counts them; their names say more
				err = fmt.Errorf("want %s, found %q", strings.TrimSuffix(c.UseLine(), " [flags]"), args)
			}
			return usageError{err}
		}
	}
	for _, sub := range c.Commands() {
		wrapArgs(sub)
	}
}

func noSubcommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	c.SuggestionsMinimumDistance = 2
	text := fmt.Sprintf("there is no command %q", args[0])
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		text += fmt.Sprintf("; did you mean %q?", near[0])
	}
	return errors.New(text)
}

// group is a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: noSubcommand, RunE: func(c *cobra.Command, _ []string) error {
		_ = c.Usage()
		return usageError{fmt.Errorf("%s needs one of its commands", use)}
	}}
	c.AddCommand(subs...)
	return c
}

// settingFlags gives a command a flag for every setting.
func settingFlags(c *cobra.Command) {
	for _, s := range defaults().settings() {
		if s.name == "data" {
			continue // every command has it
		}
		doc := s.doc
		if d := s.value.String(); d != "" && d != "0" {
			doc += " (default " + d + ")"
		}
		c.Flags().String(s.name, "", doc)
	}
}

// configOf loads the configuration that a command was given.
func configOf(c *cobra.Command) (*Config, error) {
	cfg, _, err := configFrom(c)
	return cfg, err
}

// configFrom is configOf, and where the value of each setting is from.
func configFrom(c *cobra.Command) (*Config, map[string]string, error) {
	given := map[string]string{}
	c.Flags().Visit(func(f *pflag.Flag) { given[f.Name] = f.Value.String() })
	file := given["config"]
	if file == "" {
		file = os.Getenv("HEARTHGATE_CONFIG")
	}
	return loadFrom(file, os.LookupEnv, given)
}

// adminOf is the connection to the gateway that a command was given.
func adminOf(c *cobra.Command) (*admin, error) {
	cfg, err := configOf(c)
	if err != nil {
		return nil, err
	}
	asJSON, _ := c.Flags().GetBool("json")
	quiet, _ := c.Flags().GetBool("quiet")
	return &admin{data: cfg.Data, out: c.OutOrStdout(), json: asJSON, quiet: quiet}, nil
}

func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "0.1.0-dev"
}

func versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Say the version", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		if asJSON, _ := c.Flags().GetBool("json"); asJSON {
			return json.NewEncoder(c.OutOrStdout()).Encode(map[string]string{"version": versionText()})
		}
		_, err := fmt.Fprintln(c.OutOrStdout(), "hearthgate", versionText())
		return err
	}}
}
