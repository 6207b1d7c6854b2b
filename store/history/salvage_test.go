package history_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/history"
	bolt "go.etcd.io/bbolt"
)

// salvage opens a copy of h's file, as f left its bytes, and copies what can be
// read into a new one.
func (h *home) salvage(f func(file []byte)) (to *home, told int) {
	h.Helper()
	path := h.db.Path()
	if err := h.db.Close(); err != nil {
		h.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		h.Fatal(err)
	}
	f(file)
	if err := os.WriteFile(path, file, 0o600); err != nil {
		h.Fatal(err)
	}
	from, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		h.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	to = open(h.TB)
	tx, err := from.Begin(false)
	if err != nil {
		h.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if err := history.Salvage(tx, to.db.Update, func(string, error) { told++ }); err != nil {
		h.Fatal(err)
	}
	return to, told
}

func threeDays(t *testing.T) *home {
	h, chance := open(t), rand.New(rand.NewPCG(1, 2))
	for d := range 3 {
		var all []said
		for s := range everyMinute(midnight.AddDate(0, 0, d), 24*60) {
			s.frame.Records[0].Value = protocol.Float(chance.Float64()) // so that it takes pages
			all = append(all, s)
		}
		h.seal(all...)
	}
	h.merge(midnight.Add(2 * day))
	return h
}

func TestAllOfASoundFileIsSalvaged(t *testing.T) {
	h := threeDays(t)
	samples, rows := h.samples("kitchen", "energy"), h.rows("kitchen", "energy", history.Hours)
	to, told := h.salvage(func([]byte) {})
	if told > 0 {
		t.Errorf("told of damage %d times", told)
	}
	if d := cmp.Diff(samples, to.samples("kitchen", "energy"), exact); d != "" {
		t.Errorf("samples (-want +got):\n%s", d)
	}
	if d := cmp.Diff(rows, to.rows("kitchen", "energy", history.Hours), exact); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
	to.check()
}

// A page that is lost takes what is on it along, nothing else.
func TestALostPageLosesOneDay(t *testing.T) {
	h := threeDays(t)
	all := h.samples("kitchen", "energy")
	var lost []byte // the chunk of the second day
	h.view(func(r *history.Reader) {
		_, v := r.Tx.Bucket([]byte("days")).Bucket([]byte("20261201")).Cursor().First()
		lost = bytes.Clone(v)
	})
	to, told := h.salvage(func(file []byte) {
		if len(lost) < 1024 || !bytes.Contains(file, lost) {
			t.Fatalf("the chunk of %d bytes has no page of its own in the file", len(lost))
		}
		for at := 0; ; {
			n := bytes.Index(file[at:], lost)
			if n < 0 {
				return
			}
			at += n
			clear(file[at/4096*4096:][:16]) // where it was once, too
			at++
		}
	})
	if told == 0 {
		t.Error("nobody was told")
	}
	want := append(all[:24*60:24*60], all[2*24*60:]...)
	if got := to.samples("kitchen", "energy"); !slices.Equal(want, got) {
		t.Errorf("%d samples, want %d, or others", len(got), len(want))
	}
	if rows := to.rows("kitchen", "energy", history.Days); len(rows) != 3 || rows[1].Count != 24*60 {
		t.Errorf("rows: %+v", rows)
	}
	to.check()
}
