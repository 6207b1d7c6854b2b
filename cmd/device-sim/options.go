package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hearthgate/hearthgate/internal/when"
)

const usage = `hearthgate-sim plays smart-home devices against a gateway and keeps a ledger of
what was acknowledged.

  One device, with a token from "hearthgate device add" (a device that is named
  like one of the demo's, such as living-room-lamp, is that model):
    hearthgate-sim --token hg1.living-room-lamp.…

  A fleet of 200, each with a token of its own, for a minute, then check that
  the gateway has everything it acknowledged:
    hearthgate device add --count 200 --prefix sim --json > fleet.json
    hearthgate-sim --tokens fleet.json --duration 1m --verify --api-token …

  A data set, as fast as the gateway acknowledges it:
    hearthgate-sim --token hg1.room.… --csv room.csv --speed max
  (A gateway takes 50 frames/s of a device unless limits.device_rate is 0. The
  times are moved so that the last row is now.)

  Load, and how long acknowledgements take:
    hearthgate-sim --tokens fleet.json --load --inflight 8 --duration 30s

  Bad weather:
    hearthgate-sim --tokens fleet.json --chaos --seed 7

  Over TLS, trusting the gateway's own CA:
    hearthgate-sim --url wss://gateway:8443/device --ca ca.crt --token …

Flags:
`

// options are the command line, checked.
type options struct {
	url        string
	tokens     []credential
	tls        *tls.Config
	interval   time.Duration
	csv        string
	speed      float64 // 0 = as fast as acks allow
	chaos      bool
	load       bool
	inflight   int
	rate       float64 // messages/s of all devices together, 0 = no limit
	duration   time.Duration
	seed       uint64
	json       bool
	verify     bool
	api        string
	apiToken   string
	pair       bool
	tokenFlag  string
	tokensFile string
	caFile     string
	speedText  string
	devices    int
}

// usageError is one that the asker mends by asking differently.
type usageError struct{ error }

func badUsage(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// parse reads the command line. Its errors are usageErrors, or flag.ErrHelp
// after the help was printed to out.
func parse(args []string, env func(string) string, out io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("hearthgate-sim", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.url, "url", "ws://127.0.0.1:8080/device", "`address` of the gateway, ws:// or wss://")
	f.StringVar(&o.tokenFlag, "token", "", "`token` of one device")
	f.StringVar(&o.tokensFile, "tokens", "", "`file` with the tokens of a fleet: the JSON of \"device add --json\", or one token a line")
	f.BoolVar(&o.pair, "pair", false, "join without a token")
	f.StringVar(&o.caFile, "ca", "", "`file` with the CA certificate to trust (PEM); without it the system's")
	f.IntVar(&o.devices, "devices", 0, "how many of the tokens to use (default all)")
	durationFlag(f, &o.interval, "interval", "`time` between two reports of a device (default: each model's own)")
	f.StringVar(&o.csv, "csv", "", "replay this `file`: unix_s, then a column for each component")
	f.StringVar(&o.speedText, "speed", "1", "how many times faster --csv runs; 0 or max = as fast as acks allow")
	f.BoolVar(&o.chaos, "chaos", false, "drops, half-open links, slow readers, duplicates, wrong clocks, restarts")
	f.BoolVar(&o.load, "load", false, "small frames as fast as acks come, for measuring")
	f.IntVar(&o.inflight, "inflight", 8, "with --load: `frames` un-acked per device (the gateway's window is the most)")
	f.Float64Var(&o.rate, "rate", 0, "with --load: messages/s of all devices together (default no limit)")
	durationFlag(f, &o.duration, "duration", "stop after this `time` (default: at the end of --csv, else Ctrl-C)")
	f.Uint64Var(&o.seed, "seed", 1, "seed of values and chaos")
	f.BoolVar(&o.json, "json", false, "print the ledger as JSON")
	f.BoolVar(&o.verify, "verify", false, "ask the gateway for its export; exit 1 if anything acknowledged is missing")
	f.StringVar(&o.api, "api", "", "`address` of the gateway's API (default: the host of --url)")
	f.StringVar(&o.apiToken, "api-token", env("HEARTHGATE_TOKEN"), "API `token` for --verify (default $HEARTHGATE_TOKEN)")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			f.SetOutput(out)
			fmt.Fprint(out, usage)
			f.PrintDefaults()
			return nil, err
		}
		return nil, usageError{err}
	}
	if f.NArg() > 0 {
		return nil, badUsage("unexpected argument %q", f.Arg(0))
	}
	return o, o.check()
}

// durationFlag takes what the gateway takes: 90s, 1d.
func durationFlag(f *flag.FlagSet, into *time.Duration, name, usage string) {
	f.Func(name, usage, func(s string) (err error) {
		*into, err = when.Duration(s)
		return err
	})
}

func (o *options) check() error {
	if o.pair {
		return nil // whoever joins has nothing else to say
	}
	u, err := url.Parse(o.url)
	if err != nil || u.Host == "" || u.Scheme != "ws" && u.Scheme != "wss" {
		return badUsage("--url: want wss://host:8443/device or ws://127.0.0.1:8080/device, not %q", o.url)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/device"
		o.url = u.String()
	}
	if err := o.checkNumbers(); err != nil {
		return err
	}
	if err := o.readTokens(); err != nil {
		return err
	}
	if o.caFile != "" {
		if o.tls, err = trust(o.caFile); err != nil {
			return err
		}
	}
	if o.csv != "" && o.load {
		return badUsage("--csv and --load are two ways to feed the devices: choose one")
	}
	if !o.verify {
		return nil
	}
	if o.apiToken == "" {
		return badUsage("--verify reads the gateway's export: give --api-token or $HEARTHGATE_TOKEN (`hearthgate token add` makes one)")
	}
	if o.api == "" {
		o.api = strings.Replace(u.Scheme, "ws", "http", 1) + "://" + u.Host
	}
	return nil
}

func (o *options) checkNumbers() error {
	switch {
	case o.devices < 0:
		return badUsage("--devices: want a number above 0, not %d", o.devices)
	case o.interval > 0 && o.interval < time.Millisecond:
		return badUsage("--interval: want at least 1ms, not %s", o.interval)
	case o.inflight < 1:
		return badUsage("--inflight: want at least 1, not %d", o.inflight)
	case o.rate < 0 || math.IsNaN(o.rate):
		return badUsage("--rate: want messages/s, not %g", o.rate)
	}
	if o.speedText == "max" {
		return nil
	}
	var err error
	if o.speed, err = strconv.ParseFloat(o.speedText, 64); err != nil || !(o.speed >= 0) || math.IsInf(o.speed, 0) {
		return badUsage("--speed: want a factor such as 60, or max, not %q", o.speedText)
	}
	return nil
}

func (o *options) readTokens() error {
	switch {
	case o.tokenFlag != "" && o.tokensFile != "":
		return badUsage("--token and --tokens: give one of them")
	case o.tokenFlag != "":
		c, err := credentialOf(o.tokenFlag)
		if err != nil {
			return badUsage("--token: %w", err)
		}
		o.tokens = []credential{c}
	case o.tokensFile != "":
		text, err := os.ReadFile(o.tokensFile)
		if err != nil {
			return badUsage("--tokens: %w", err)
		}
		if o.tokens, err = parseTokens(bytes.NewReader(text)); err != nil {
			return badUsage("--tokens %s: %w", o.tokensFile, err)
		}
	default:
		return badUsage("who connects? give --token or --tokens (`hearthgate device add NAME` prints a token)")
	}
	if o.devices > len(o.tokens) {
		return badUsage("--devices %d: each device needs a token of its own, and there are %d", o.devices, len(o.tokens))
	}
	if o.devices > 0 {
		o.tokens = o.tokens[:o.devices]
	}
	return nil
}

func trust(file string) (*tls.Config, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, badUsage("--ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, badUsage("--ca %s: no certificate in it (want PEM)", file)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(64)}, nil
}
