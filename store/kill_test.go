package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// killMe tells the test binary to be the process that gets killed, as tellMe does
// to be another build that reads; they hold the data directory.
const killMe = "HEARTHGATE_TEST_KILL_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killMe); dir != "" {
		if err := appendForEver(dir); err != nil {
			fmt.Println("error", err)
		}
		return
	}
	if dir := os.Getenv(tellMe); dir != "" {
		if err := tell(context.Background(), os.Stdout, dir); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		return
	}
	if dir := os.Getenv(replayMe); dir != "" {
		if err := replayAndTell(dir); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const killDevices = 4

func killDevice(i int) string { return fmt.Sprint("d", i) }

// appendForEver appends entries of some devices and says on standard output
// which were acknowledged, until it is killed.
func appendForEver(dir string) error {
	s, err := store.Open(store.Options{Dir: dir, Commit: 0})
	if err != nil {
		return err
	}
	counts, err := store.OpenTable[uint64](s, "counts")
	if err != nil {
		return err
	}
	failed := make(chan error, killDevices)
	for i := range killDevices {
		go func() { failed <- appendFor(s, counts, killDevice(i)) }()
	}
	return <-failed
}

func appendFor(s *store.Store, counts *store.Table[uint64], device string) error {
	window := make(chan struct{}, 8)
	for seq := s.Hello(device, []protocol.Boot{{1}})[0] + 1; ; seq++ {
		window <- struct{}{}
		e := step{device: device, seq: seq}.entry()
		e.Boot = protocol.Boot{1}
		acked := func(err error) {
			if err == nil {
				fmt.Printf("%s %d\n", device, seq) // one write: killed before or after it
			}
			<-window
		}
		if _, err := s.Append(e, store.Measured, waiter(acked)); err != nil {
			return err
		}
		if seq%8 == 0 {
			if err := counts.Put(device, seq, store.Measured, nil); err != nil {
				return err
			}
		}
	}
}

// Killed at any moment, the store starts again and has everything that was
// acknowledged, once.
func TestKill(t *testing.T) {
	rounds := 200
	if underRace {
		rounds = 25
	}
	dir := t.TempDir()
	acked := map[string]uint64{}                                      // as the killed one said
	stored := map[string]uint64{}                                     // as the log says
	slow := map[string]uint64{}                                       // as a reader knows that looks now and then
	if err := afterKill(dir, acked, stored, slow, true); err != nil { // the readers' cursors begin here
		t.Fatal(err)
	}
	total := 0
	for round := range rounds {
		heard, err := runAndKill(dir, time.Duration(rand.IntN(60))*time.Millisecond, round%2 == 1, acked)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		total += heard
		if err := afterKill(dir, acked, stored, slow, round%20 == 0 || round == rounds-1); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	t.Logf("%d rounds, %d entries acknowledged, %v stored", rounds, total, stored)
	if total == 0 {
		t.Error("nothing was ever acknowledged")
	}
}

// The very first start is the one in which a file is made.
func TestKillAtTheFirstStart(t *testing.T) {
	rounds := 60
	if underRace {
		rounds = 10
	}
	for round := range rounds {
		dir := t.TempDir()
		acked := map[string]uint64{}
		if _, err := runAndKill(dir, time.Duration(rand.IntN(20_000))*time.Microsecond, false, acked); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := os.WriteFile(filepath.Join(dir, "gateway.db.new"), make([]byte, 1+rand.IntN(20_000)), 0o600); err != nil { // as a power cut would leave it
			t.Fatal(err)
		}
		if err := afterFirstKill(dir, acked); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
}

func afterFirstKill(dir string, acked map[string]uint64) error {
	s, err := store.Open(store.Options{Dir: dir, Commit: 0})
	if err != nil {
		return err
	}
	defer s.Close()
	for d, seq := range acked {
		if got := s.Hello(d, []protocol.Boot{{1}})[0]; got < seq {
			err = errors.Join(err, fmt.Errorf("%s: acknowledged up to %d, settled up to %d", d, seq, got))
		}
	}
	if aside, _ := filepath.Glob(filepath.Join(dir, "*.corrupt-*")); len(aside) > 0 {
		err = errors.Join(err, fmt.Errorf("set aside: %v", aside))
	}
	return errors.Join(err, s.Check())
}

// runAndKill starts a process that appends, kills it after a while and notes
// what it said was acknowledged. The while begins with the process, or with the
// first that it acknowledges, however long the start takes.
func runAndKill(dir string, after time.Duration, atWork bool, acked map[string]uint64) (heard int, err error) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killMe+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	wait := after
	if atWork {
		wait = time.Minute // never: it has something to acknowledge long before
	}
	kill := time.AfterFunc(wait, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if atWork && heard == 0 {
			kill.Reset(after)
		}
		var device string
		var seq uint64
		if _, serr := fmt.Sscanf(lines.Text(), "%s %d", &device, &seq); serr != nil {
			err = fmt.Errorf("the process said %q", lines.Text())
			continue
		}
		acked[device] = max(acked[device], seq)
		heard++
	}
	_ = cmd.Wait() // killed: that is no error
	return heard, err
}

// afterKill opens the store and compares it with what was acknowledged. It reads
// on from where it was the last time, by a cursor. With check it reads by another
// one, too, that is far behind, and looks back.
func afterKill(dir string, acked, stored, slow map[string]uint64, check bool) error {
	s, err := store.Open(store.Options{Dir: dir, Commit: 0})
	if err != nil {
		return fmt.Errorf("the start is refused: %w", err)
	}
	defer s.Close()
	if err := readOn(s, "checker", stored); err != nil {
		return err
	}
	if check {
		if err := errors.Join(readOn(s, "slow", slow), looksBack(s, stored)); err != nil {
			return err
		}
	}
	for i := range killDevices {
		d := killDevice(i)
		settled := s.Hello(d, []protocol.Boot{{1}})[0]
		if stored[d] < acked[d] || settled != stored[d] {
			err = errors.Join(err, fmt.Errorf("%s: acknowledged up to %d, stored up to %d, settled up to %d", d, acked[d], stored[d], settled))
		}
	}
	counts, terr := store.OpenTable[uint64](s, "counts")
	if terr == nil {
		terr = counts.Each(func(d string, n uint64) error {
			if n > stored[d] || n+8 < stored[d] {
				return fmt.Errorf("%s: the table says %d, the log ends at %d", d, n, stored[d])
			}
			return nil
		})
	}
	if h := s.Health(); h.Damaged > 0 {
		err = errors.Join(err, fmt.Errorf("%d values are damaged", h.Damaged))
	}
	if check {
		err = errors.Join(err, s.Check())
	}
	return errors.Join(err, terr)
}

// readOn reads all that a reader has not read.
func readOn(s *store.Store, name string, stored map[string]uint64) error {
	tail, err := s.Tail(name)
	if err != nil {
		return err
	}
	defer tail.Close()
	for tail.Lag() > 0 {
		entries, skipped, nerr := tail.Next(context.Background(), 1000)
		if nerr != nil || skipped > 0 {
			return fmt.Errorf("%s: %d skipped, %w", name, skipped, nerr)
		}
		for _, e := range entries {
			err = errors.Join(err, inOrder(e, stored))
			tail.Advance(e.Pos)
		}
	}
	return err
}

// looksBack wants each entry in the history once.
func looksBack(s *store.Store, stored map[string]uint64) error {
	for device, n := range stored {
		seq := uint64(0)
		err := s.Export(context.Background(), device, time.Time{}, time.Unix(1<<32, 0), func(e *store.Entry, r *protocol.Record) error {
			if r.Name != "r0" {
				return nil
			}
			if seq++; e.Seq != seq {
				return fmt.Errorf("%s: history has %d where %d belongs", device, e.Seq, seq)
			}
			return nil
		})
		if err != nil || seq != n {
			return errors.Join(err, fmt.Errorf("%s: history ends at %d of %d", device, seq, n))
		}
	}
	return nil
}

// inOrder notes that e is stored and that it comes right behind the one before.
func inOrder(e *store.Entry, stored map[string]uint64) error {
	want := stored[e.Device] + 1
	stored[e.Device] = e.Seq
	if e.Seq != want || len(e.Records) == 0 || e.Records[0].Value != protocol.Int(int64(e.Seq)) {
		return fmt.Errorf("%s: entry %+v comes where seq %d belongs", e.Device, e, want)
	}
	return nil
}
