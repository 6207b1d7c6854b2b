package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

func importCommand() *cobra.Command {
	c := &cobra.Command{Use: "import [FILE]", Short: "Take in the history that export wrote, JSON lines or CSV", Args: cobra.MaximumNArgs(1),
		Long: `Take in the history that export wrote: JSON lines or CSV, also compressed with gzip,
from a file or from standard input, into a gateway that runs or that does not.

It becomes history alone: no state changes, nothing is published, and automations
do not hear of it. What is there already is left out, so that an import can be
made again. What is older than store.retain goes as everything of that age.

JSON lines keep the types of values; in CSV 21.5 is a number and true a bool. A
line needs device, name ("n"), time ("t", in seconds since 1970) and value ("v",
"vs" for text, "vb" for true and false); the rest may be missing.`,
		Example: "  hearthgate import home.csv\n  zcat old/*.jsonl.gz | hearthgate import --create --skip-bad"}
	create := c.Flags().Bool("create", false, "add devices that are not known (hearthgate device rotate gives them a token)")
	skip := c.Flags().Bool("skip-bad", false, "count bad lines and go on")
	quietFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		a, err := adminOf(c)
		if err != nil {
			return err
		}
		from, size, name := c.InOrStdin(), int64(0), "standard input"
		if len(args) == 0 && isTerminal(from) {
			return usageError{errors.New("say a file, such as home.csv, or - for standard input")}
		}
		if len(args) == 1 && args[0] != "-" {
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer func() { _ = f.Close() }()
			from, size, name = f, sizeOf(args[0]), args[0]
		}
		bar := progressOf(c, "Importing")
		bar.phase("Importing", size)
		im := importRun{skip: *skip, bar: bar, bad: c.ErrOrStderr()}
		err = a.importFrom(c.Context(), &im, bar.reader(from), *create)
		bar.end()
		if err != nil {
			return fmt.Errorf("import %s: %w%s", name, err, im.soFar())
		}
		return a.show(im.sum, func(w io.Writer) { im.print(w) })
	}
	return c
}

// importRun is one import on the side of the command.
type importRun struct {
	skip  bool
	bar   *progress
	bad   io.Writer // hears of bad lines
	batch func(ctx context.Context, lines []imported) (importAnswer, error)
	sum   importSum
}

// importSum is the answer for scripts.
type importSum struct {
	New      int      `json:"new"`
	Repeated int      `json:"repeated"`
	Bad      int      `json:"bad"`
	Created  []string `json:"created"`
}

// importFrom hands what it reads to the gateway, batch by batch, or to the store
// of one that does not run.
func (a *admin) importFrom(ctx context.Context, im *importRun, from io.Reader, create bool) error {
	im.sum.Created = []string{}
	conn, err := dialAdmin(ctx, a.data)
	if err == nil {
		_ = conn.Close()
		q := url.Values{"begin": {"1"}}
		if create {
			q.Set("create", "1")
		}
		if im.skip {
			q.Set("skip", "1")
		}
		im.batch = func(ctx context.Context, lines []imported) (importAnswer, error) {
			answer, err := a.sendImport(ctx, "/admin/import?"+q.Encode(), lines)
			q.Del("begin")
			return answer, err
		}
		return im.run(ctx, from)
	}
	if !errors.Is(err, errNotRunning) {
		return err
	}
	return offlineStore(a.data, func(s *store.Store) error {
		reg, err := registry.Open(s, protocol.Limits{})
		if err != nil {
			return err
		}
		target := newImporter(s, reg, create)
		im.batch = func(ctx context.Context, lines []imported) (importAnswer, error) {
			return target.add(ctx, lines, im.skip)
		}
		return im.run(ctx, from)
	})
}

func (a *admin) sendImport(ctx context.Context, path string, lines []imported) (answer importAnswer, err error) {
	var b []byte
	for i := range lines {
		b = lines[i].appendJSON(b)
	}
	resp, err := a.tell(ctx, "POST", path, bytes.NewReader(b))
	if err != nil {
		return answer, err
	}
	defer func() { _ = resp.Body.Close() }()
	return answer, json.NewDecoder(resp.Body).Decode(&answer)
}

func (im *importRun) run(ctx context.Context, from io.Reader) error {
	next, err := readLines(from)
	if err != nil {
		return err
	}
	var lines []imported
	size := 0
	for {
		l, err := next()
		var bad badLine
		switch {
		case errors.Is(err, io.EOF):
			return im.send(ctx, lines)
		case errors.As(err, &bad):
			if err := im.report(bad); err != nil {
				return errors.Join(im.send(ctx, lines), err)
			}
			continue
		case err != nil:
			return errors.Join(im.send(ctx, lines), err)
		}
		lines = append(lines, l)
		// A letter takes six in JSON at most.
		if size += 200 + 6*len(l.Record.Value.AsText()); len(lines) == importBatch || size >= importBytes {
			if err := im.send(ctx, lines); err != nil {
				return err
			}
			lines, size = lines[:0], 0
		}
	}
}

// send hands a batch over.
func (im *importRun) send(ctx context.Context, lines []imported) error {
	if len(lines) == 0 {
		return nil
	}
	a, err := im.batch(ctx, lines)
	if err != nil {
		return err
	}
	im.sum.New += a.New
	im.sum.Repeated += a.Repeated
	im.sum.Created = append(im.sum.Created, a.Created...)
	im.bar.says(fmt.Sprintf("%d values", im.sum.New))
	for _, bad := range a.Bad {
		if err := im.report(bad); err != nil {
			return err
		}
	}
	return nil
}

// shownBad is how many bad lines are named; the others are counted.
const shownBad = 10

// report counts a bad line, or ends the import with it.
func (im *importRun) report(bad badLine) error {
	if !im.skip {
		return bad
	}
	if im.sum.Bad++; im.sum.Bad <= shownBad {
		fmt.Fprintf(im.bad, "left out: %v\n", bad)
	}
	if im.sum.Bad == shownBad {
		fmt.Fprintln(im.bad, "left out: … further ones are counted")
	}
	return nil
}

// soFar says what an import that ended early did.
func (im *importRun) soFar() string {
	if im.sum.New == 0 {
		return ""
	}
	return fmt.Sprintf("\n%d values are in; the import can be made again, it leaves them out (--skip-bad goes on behind bad lines)", im.sum.New)
}

func (im *importRun) print(w io.Writer) {
	fmt.Fprintf(w, "%d values are in", im.sum.New)
	if im.sum.Repeated > 0 {
		fmt.Fprintf(w, ", %d were there already", im.sum.Repeated)
	}
	if im.sum.Bad > 0 {
		fmt.Fprintf(w, ", bad lines left out: %d", im.sum.Bad)
	}
	fmt.Fprintln(w, ".")
	switch n := len(im.sum.Created); {
	case n == 1:
		fmt.Fprintf(w, "The device %[1]s is new; hearthgate device rotate %[1]s gives it a token.\n", im.sum.Created[0])
	case n > 1:
		fmt.Fprintf(w, "%d devices are new: %s. hearthgate device rotate ID gives one a token.\n", n, wrap(im.sum.Created, 72))
	}
}
