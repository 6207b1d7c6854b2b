// Command device-sim, installed as hearthgate-sim, plays devices against a
// gateway: a fleet of models, a data set, or load, in good weather or bad. At
// the end it gives account of every frame.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// The first Ctrl-C ends the play and prints the ledger, the second the process.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func run(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) int {
	o, err := parse(args, env, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitDone
	case err != nil:
		fmt.Fprintf(stderr, "hearthgate-sim: %v\nhearthgate-sim --help tells more.\n", err)
		return exitUsage
	case o.pair:
		fmt.Fprintln(stderr, "hearthgate-sim: the gateway does not take part in pairing yet (/pair answers 503): add the device with `hearthgate device add NAME` and give its --token")
		return exitFailed
	}
	p, err := newPlay(o, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "hearthgate-sim: %v\n", err)
		return exitUsage
	}
	sum, err := p.run(ctx)
	if o.json {
		err = errors.Join(err, sum.json(stdout))
	} else {
		sum.print(stdout)
	}
	if err != nil {
		fmt.Fprintf(stderr, "hearthgate-sim: %v\n", err)
		return exitFailed
	}
	return exitDone
}
