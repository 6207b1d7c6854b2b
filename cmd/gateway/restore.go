package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hearthgate/hearthgate/store"
)

func restoreCommand() *cobra.Command {
	c := &cobra.Command{Use: "restore FILE", Short: "Put a backup into an empty data directory", Args: oneFile,
		Long: `Put a backup into a data directory that is empty or not there yet. Devices, tokens,
accounts, history and the CA are as they were, and devices come back by themselves.
It is whole or not there: one that was cut off can be made again.`,
		Example: "  hearthgate restore home.tar --data /var/lib/hearthgate"}
	quietFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		a, err := adminOf(c)
		if err != nil {
			return err
		}
		data := absolute(a.data)
		if err := notRunning(c.Context(), data); err != nil {
			return err
		}
		bar := progressOf(c, "Verifying")
		m, err := restore(args[0], data, bar)
		bar.end()
		if err != nil {
			return err
		}
		return a.show(m, func(w io.Writer) {
			fmt.Fprintf(w, "%s has gateway %s as it was at %s.\n", data, m.Gateway, m.Time.In(here).Format("2006-01-02 15:04:05"))
			fmt.Fprintf(w, "Start it with: hearthgate serve --data %s\n", data)
			fmt.Fprintln(w, "The gateway that it is a copy of must not run any more: two with one id disturb each other.")
		})
	}
	return c
}

// notRunning refuses to touch the files of a gateway that runs.
func notRunning(ctx context.Context, data string) error {
	conn, err := dialAdmin(ctx, data)
	if err != nil {
		return nil // the lock on the directory decides
	}
	_ = conn.Close()
	return fmt.Errorf("a gateway is running in %s; stop it first", data)
}

// restoring is where a backup is unpacked. While it is there, nothing beside it
// counts, so that a restore that was cut off can be made again.
const restoring = "restore.tmp"

// halfRestored refuses a directory in which a restore was cut off before it made
// a gateway: a start would make an empty one of it, and the restore could not be
// made again.
func halfRestored(data string) error {
	if _, err := os.Lstat(filepath.Join(data, restoring)); err != nil {
		return nil
	}
	if _, err := os.Lstat(filepath.Join(data, databaseName)); err == nil {
		return nil // all but the end was done, and that is tidying up
	}
	return fmt.Errorf("a restore into %s is under way or was cut off; wait for it or make it again (hearthgate restore FILE --data %s), or remove %s to begin with an empty gateway",
		data, data, filepath.Join(data, restoring))
}

// tidy removes what a restore that was cut off in its last moment left, or a
// compact or a backup. The caller has the store open, so none of them is under way.
func tidy(data string) error {
	all, err := os.ReadDir(data)
	for _, e := range all {
		half, _ := filepath.Match(halfBackup, e.Name())
		if half || e.Name() == restoring || e.Name() == databaseName+".compact" {
			err = errors.Join(err, os.RemoveAll(filepath.Join(data, e.Name())))
		}
	}
	return err
}

// restore puts a backup into data, whole or not at all. Only the last step makes
// a gateway of it.
func restore(file, data string, bar *progress) (manifest, error) {
	return restoration{data, func(string, string) {}, bar}.from(file)
}

// restoration is a restore into data. did is told of what was just done to the
// disk: "written" and "synced" of a file, "moved" of a name to its place, "names
// synced" of a directory.
type restoration struct {
	data string
	did  func(what, name string)
	bar  *progress
}

func (r restoration) from(file string) (m manifest, err error) {
	r.bar.phase("Verifying", sizeOf(file))
	if m, err = readArchive(file, "", watching{bar: r.bar}); err != nil {
		return m, err
	}
	if err := empty(r.data); err != nil {
		return m, err
	}
	held, err := store.Hold(r.data)
	if err != nil {
		return m, fmt.Errorf("restore: %w", err)
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	defer sameOwner(r.data)
	if err := empty(r.data); err != nil { // now that nobody else can fill it
		return m, err
	}
	tmp := filepath.Join(r.data, restoring)
	if err := errors.Join(os.RemoveAll(tmp), os.Mkdir(tmp, 0o700)); err != nil {
		return m, fmt.Errorf("restore: %w", err)
	}
	r.bar.phase("Unpacking", sizeOf(file))
	if m, err = readArchive(file, tmp, watching{r.did, r.bar}); err == nil {
		err = r.renewed(tmp)
	}
	if err == nil {
		err = r.takeOver(tmp)
	}
	err = errors.Join(err, os.RemoveAll(tmp), syncDirectory(r.data))
	if err != nil {
		return m, fmt.Errorf("restore: %w", err)
	}
	return m, nil
}

// empty refuses a directory that has anything of somebody else's.
func empty(data string) error {
	entries, err := os.ReadDir(data)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	ours, again := []string{"gateway.lock", "lost+found", restoring}, false
	for _, e := range entries {
		if e.Name() == restoring {
			ours, again = append(ours, "ca"), true
		}
	}
	for _, e := range entries {
		if !slices.Contains(ours, e.Name()) && !(again && store.IsLogFile(e.Name())) {
			return fmt.Errorf("%s is not empty (it has %s); a restore never overwrites: move it away, or give another --data", data, e.Name())
		}
	}
	return nil
}

// renewed checks what was unpacked and gives it a new epoch, by which readers
// notice that positions mean something else now.
func (r restoration) renewed(dir string) error {
	_, segments, err := renew(dir)
	if err != nil {
		return fmt.Errorf("the store in the backup is damaged: %w", err)
	}
	for _, name := range append(segments, databaseName) {
		r.did("written", filepath.Join(dir, name))
		r.did("synced", filepath.Join(dir, name)) // it is, and so is each transaction
	}
	return nil
}

// renew makes a store of what was unpacked into dir, under a new epoch, and checks
// it. It returns the files of its log, too.
func renew(dir string) (found checked, segments []string, err error) {
	if err := store.Inspect(dir); err != nil {
		return found, nil, err
	}
	if segments, err = store.Renew(dir, pagesIn(dir)); err != nil {
		return found, nil, err
	}
	found, err = checkOffline(dir)
	if err == nil && !found.OK {
		err = errors.New(strings.Join(found.Findings, "; "))
	}
	return found, segments, err
}

// pagesIn are the pages of the log that were unpacked into dir, in order.
func pagesIn(dir string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		files, err := os.ReadDir(filepath.Join(dir, pagesName))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			yield(nil, err)
			return
		}
		for _, f := range files {
			page, err := os.ReadFile(filepath.Join(dir, pagesName, f.Name()))
			if !yield(page, err) || err != nil {
				return
			}
		}
	}
}

// takeOver moves what was unpacked to its place, the database last.
func (r restoration) takeOver(tmp string) (err error) {
	ca := filepath.Join(r.data, "ca")
	if err := r.clear(); err != nil { // of a restore that was cut off
		return err
	}
	err = r.move(tmp, "ca")
	if err == nil {
		err = r.syncNames(ca)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) { // own certificates need none
		return err
	}
	if err = r.moveLog(tmp); err == nil {
		err = r.syncNames(r.data)
	}
	if err == nil {
		err = r.move(tmp, databaseName)
	}
	if err != nil {
		return errors.Join(err, r.clear()) // or it would be in the way of the next try
	}
	return r.syncNames(r.data)
}

// moveLog moves the log's files, which count for nothing without their database.
func (r restoration) moveLog(tmp string) error {
	files, err := os.ReadDir(tmp)
	for _, f := range files {
		if store.IsLogFile(f.Name()) && err == nil {
			err = r.move(tmp, f.Name())
		}
	}
	return err
}

// clear removes what of a restore has its place already, but makes no gateway.
func (r restoration) clear() error {
	err := os.RemoveAll(filepath.Join(r.data, "ca"))
	files, lerr := os.ReadDir(r.data)
	for _, f := range files {
		if store.IsLogFile(f.Name()) {
			err = errors.Join(err, os.Remove(filepath.Join(r.data, f.Name())))
		}
	}
	return errors.Join(err, lerr)
}

func (r restoration) move(from, name string) error {
	err := os.Rename(filepath.Join(from, name), filepath.Join(r.data, name))
	if err == nil {
		r.did("moved", filepath.Join(r.data, name))
	}
	return err
}

func (r restoration) syncNames(dir string) error {
	err := syncDirectory(dir)
	r.did("names synced", dir)
	return err
}

func compactCommand() *cobra.Command {
	return &cobra.Command{Use: "compact", Short: "Make the database of a stopped gateway as small as it can be", Args: cobra.NoArgs,
		Long: `Write the database anew without free pages, and put it in place of the old one when
it is whole. The gateway must not run, and the disk needs room for both.`,
		Example: "  sudo systemctl stop hearthgate\n  hearthgate compact --data /var/lib/hearthgate",
		RunE: func(c *cobra.Command, _ []string) error {
			a, err := adminOf(c)
			if err != nil {
				return err
			}
			data := absolute(a.data)
			if err := errors.Join(notRunning(c.Context(), data), dataThere(data)); err != nil {
				return err
			}
			before, after, err := store.Compact(data)
			sameOwner(data)
			if errors.Is(err, store.ErrLocked) {
				return fmt.Errorf("%w; stop it first", err)
			}
			if err != nil {
				return err
			}
			return a.show(map[string]int64{"before": before, "after": after}, func(w io.Writer) {
				if after == before {
					fmt.Fprintf(w, "%s is as small as it can be: %s.\n", filepath.Join(data, databaseName), bytesText(after))
					return
				}
				fmt.Fprintf(w, "%s: %s before, %s now.\n", filepath.Join(data, databaseName), bytesText(before), bytesText(after))
			})
		}}
}
