package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hearthgate/hearthgate/store"
)

func backupCommand() *cobra.Command {
	c := &cobra.Command{Use: "backup FILE", Short: "Write everything into one file, while the gateway runs", Args: oneFile,
		Long: `Write everything into one file, while the gateway runs: the database, the log up
to this moment, tokens, settings of devices, and the local CA. FILE is a tar file
and gets its name when it is whole and on disk.

While the gateway runs the copy is made at --rate, so that devices wait no longer
for their acknowledgements; without one it is as fast as the disk.

It contains secrets: the CA's private key lets whoever has it pose as your
gateway. Keep it as you keep a key. It does not contain the configuration file
and the certificate of tls.certificate.`,
		Example: "  hearthgate backup home.tar\n  hearthgate backup --verify home.tar"}
	verify := c.Flags().Bool("verify", false, "check a backup that was made earlier, in a temporary directory (TMPDIR)")
	rate := c.Flags().String("rate", "", "most bytes a second, such as 20MB/s; 0: no limit (default 5MB/s of a gateway that runs)")
	quietFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		a, err := adminOf(c)
		if err != nil {
			return err
		}
		bar := progressOf(c, "Verifying")
		defer bar.end()
		if *verify {
			return a.verify(args[0], bar)
		}
		limit := int64(-1)
		if *rate != "" {
			if limit, err = parseRate(*rate); err != nil {
				return usageError{fmt.Errorf("--rate: %w", err)}
			}
		}
		if err := a.backup(c.Context(), args[0], limit, bar); err != nil {
			return err
		}
		bar.phase("Verifying", sizeOf(args[0]))
		m, err := readArchive(args[0], "", watching{bar: bar})
		if err != nil {
			return err
		}
		bar.end()
		return a.show(savedBackup{args[0], sizeOf(args[0]), m}, func(w io.Writer) {
			fmt.Fprintf(w, "%s has everything of gateway %s, %s.\n", args[0], m.Gateway, bytesText(sizeOf(args[0])))
			fmt.Fprintln(w, "It contains secrets, the CA's private key among them: keep it as you keep a key.")
		})
	}
	return c
}

// savedBackup is the answer for scripts.
type savedBackup struct {
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
	manifest
}

func oneFile(_ *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return errors.New("say one file, such as home.tar")
	}
	return nil
}

// backup saves what the running gateway sends, or what the data directory has.
// A rate below 0 is the usual one.
func (a *admin) backup(ctx context.Context, path string, rate int64, bar *progress) error {
	online := rate
	if rate < 0 {
		online, rate = backupRate, 0
	}
	bar.phase("Copying", 0)
	stop := a.watchCopy(ctx, bar)
	resp, err := a.ask(ctx, fmt.Sprintf("/admin/backup?rate=%d", online))
	stop()
	if errors.Is(err, errNotRunning) {
		return a.backupOffline(ctx, path, rate, bar)
	}
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	bar.phase("Saving", resp.ContentLength)
	return saveSynced(ctx, path, bar.reader(resp.Body), online) // it may be the same card
}

func (a *admin) backupOffline(ctx context.Context, path string, rate int64, bar *progress) error {
	return offlineStore(a.data, func(s *store.Store) error {
		bar.phase("Saving", s.Health().FileBytes)
		r, w := io.Pipe()
		go func() { w.CloseWithError(writeArchive(ctx, s, absolute(a.data), w)) }()
		err := saveSynced(ctx, path, bar.reader(r), rate)
		_ = r.Close()
		return err
	})
}

// copied is how far the gateway is with the copy that it makes first.
type copied struct{ at, of atomic.Int64 }

// watchCopy asks the gateway how far it is, for who watches, until stop.
func (a *admin) watchCopy(ctx context.Context, bar *progress) (stop func()) {
	if bar.to == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(2 * drawEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			resp, err := a.ask(ctx, "/admin/backup/copied")
			if err != nil {
				continue
			}
			var is struct{ At, Of int64 }
			err = json.NewDecoder(resp.Body).Decode(&is)
			_ = resp.Body.Close()
			if err == nil && is.Of > 0 {
				bar.set(is.At, is.Of)
			}
		}
	}()
	return func() { cancel(); <-done }
}

func (g *gateway) sendCopied(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]int64{"at": g.copied.at.Load(), "of": g.copied.of.Load()})
}

// Write counts.
func (c *copied) Write(b []byte) (int, error) {
	c.at.Add(int64(len(b)))
	return len(b), nil
}

// saveSynced is save at a rate, and the name is on disk, too.
func saveSynced(ctx context.Context, path string, from io.Reader, rate int64) error {
	err := saveAs(path, func(f *os.File) error {
		_, err := io.Copy(&paced{ctx: ctx, to: f, rate: rate}, from)
		return err
	})
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return syncDirectory(dirOf(path))
}

func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ask is do for what only whoever has the admin socket or the data may do.
func (a *admin) ask(ctx context.Context, path string) (*http.Response, error) {
	return a.tell(ctx, "GET", path, nil)
}

// tell is ask with something to say.
func (a *admin) tell(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://hearthgate"+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := adminClient(a.data).Do(req)
	if err != nil {
		return nil, clean(err)
	}
	if resp.StatusCode >= 400 {
		defer func() { _ = resp.Body.Close() }()
		return nil, answerError(resp)
	}
	return resp, nil
}

// offlineStore lets f use the store of a gateway that does not run.
func offlineStore(data string, f func(*store.Store) error) error {
	if err := dataThere(data); err != nil {
		return err
	}
	defer sameOwner(data)
	s, err := store.Open(store.Options{Dir: data, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	return errors.Join(f(s), s.Close())
}

func dataThere(data string) error {
	if err := halfRestored(data); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(data, databaseName)); err != nil {
		return fmt.Errorf("there is no data of a gateway in %s; is --data right?", data)
	}
	return nil
}

// sendBackup is the gateway's part. The copy is made in a file without a name on
// its own disk first, so that the database waits for no slow reader, and so that
// nothing is left over whatever happens.
func (g *gateway) sendBackup(w http.ResponseWriter, r *http.Request) {
	if !g.backingUp.TryLock() {
		refuse(w, http.StatusConflict, errors.New("a backup is being made already"))
		return
	}
	defer g.backingUp.Unlock()
	rate, err := strconv.ParseInt(r.URL.Query().Get("rate"), 10, 64)
	if err != nil {
		rate = backupRate
	}
	f, err := g.archive(r.Context(), rate)
	if err != nil {
		g.log.Warn("no backup could be made", "err", err)
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	defer func() { _ = f.Close() }()
	size, err := f.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-tar")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10)) // half of it does not look whole
	if _, err := io.Copy(w, f); err != nil {
		g.log.Warn("a backup was not taken to its end", "err", err)
		return
	}
	g.log.Info("a backup was made", "bytes", size)
}

// halfBackup are the names of backups while they are made: for a moment, then the
// file has none.
const halfBackup = "backup-*.tmp"

func (g *gateway) archive(ctx context.Context, rate int64) (*os.File, error) {
	data := absolute(g.cfg.Data)
	if err := roomForCopy(data, g.store.Health()); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(data, halfBackup)
	if err != nil {
		return nil, err
	}
	g.copied.at.Store(0)
	g.copied.of.Store(g.store.Health().FileBytes)
	to := io.MultiWriter(&paced{ctx: ctx, to: f, rate: rate}, &g.copied)
	if err := errors.Join(os.Remove(f.Name()), writeArchive(ctx, g.store, data, to)); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// spareSpace is what a backup leaves free for what devices say meanwhile.
const spareSpace = 64 << 20

// roomForCopy refuses a copy that would fill the disk that commits need.
func roomForCopy(dir string, h store.Health) error {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return nil // then we cannot know
	}
	free, need := uint64(s.Bavail)*uint64(s.Bsize), uint64(h.FileBytes+h.LogBytes)+spareSpace
	if free < need {
		return fmt.Errorf("a backup needs %d MB in %s for a moment and %d MB are free; make room, or stop the gateway and run it again", need>>20, dir, free>>20)
	}
	return nil
}

func sizeOf(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// bytesText is a size for people.
func bytesText(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d KB", (n+1023)>>10)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/(1<<20))
}

// verify opens what is in a backup, as a restore would, and lets it go again.
func (a *admin) verify(path string, bar *progress) error {
	dir, err := os.MkdirTemp("", "hearthgate-verify-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	bar.phase("Verifying", sizeOf(path))
	m, err := readArchive(path, dir, watching{bar: bar})
	if err != nil {
		return err
	}
	bar.end()
	found, _, err := renew(dir)
	if err != nil {
		return fmt.Errorf("backup %s: its sums are right, but the store in it is damaged: %w", path, err)
	}
	return a.show(savedBackup{path, sizeOf(path), m}, func(w io.Writer) {
		fmt.Fprintf(w, "%s is whole: gateway %s at %s, %d entries, made by version %s.\n",
			path, m.Gateway, m.Time.In(here).Format("2006-01-02 15:04:05"), found.Entries, m.Version)
	})
}
