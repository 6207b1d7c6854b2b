package history_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/chunk"
	"github.com/hearthgate/hearthgate/store/history"
	"github.com/hearthgate/hearthgate/store/rollup"
	bolt "go.etcd.io/bbolt"
)

// theExample is what FORMAT.md shows: two days, of which one is merged, and one
// late value.
func theExample(h *home) {
	say := func(seq uint64, at time.Duration, n int64) said {
		return hear(seq, record("t", midnight.Add(at), protocol.Int(n)))
	}
	h.seal(say(1, time.Hour, 20), say(2, 25*time.Hour, 22))
	h.merge(midnight.Add(day))
	h.seal(say(3, 2*time.Hour, 21))
}

// document is the file of FORMAT.md: its lines by bucket.
func document(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(text), "```hex file\n")
	shown, _, ok := strings.Cut(shown, "```")
	if !ok {
		t.Fatal("FORMAT.md shows no file")
	}
	return shown
}

// dump writes a file as the document does.
func dump(tx *bolt.Tx) string {
	var s strings.Builder
	values := func(b *bolt.Bucket) {
		_ = b.ForEach(func(k, v []byte) error {
			if v != nil {
				fmt.Fprintf(&s, "  %x\n", k)
				for line := range slices.Chunk(v, 32) {
					fmt.Fprintf(&s, "    %x\n", line)
				}
			}
			return nil
		})
	}
	_ = tx.ForEach(func(name []byte, b *bolt.Bucket) error {
		fmt.Fprintf(&s, "%s\n", name)
		values(b)
		return b.ForEachBucket(func(k []byte) error {
			fmt.Fprintf(&s, "%s/%s sequence %d\n", name, k, b.Bucket(k).Sequence())
			values(b.Bucket(k))
			return nil
		})
	})
	return s.String()
}

func TestTheDocumentShowsTheFile(t *testing.T) {
	h := open(t)
	theExample(h)
	h.view(func(r *history.Reader) {
		if d := cmp.Diff(document(t), dump(r.Tx)); d != "" {
			t.Errorf("the file (-document +got):\n%s", d)
		}
	})
}

// What is made from the document's bytes alone is read.
func TestTheDocumentsFileIsRead(t *testing.T) {
	h := open(t)
	h.fill(document(t))
	want := []chunk.Sample{
		{Time: midnight.Add(time.Hour).UnixNano(), Value: protocol.Int(20)},
		{Time: midnight.Add(2 * time.Hour).UnixNano(), Value: protocol.Int(21)},
		{Time: midnight.Add(25 * time.Hour).UnixNano(), Value: protocol.Int(22)},
	}
	if d := cmp.Diff(want, h.samples("kitchen", "t"), exact); d != "" {
		t.Errorf("samples (-want +got):\n%s", d)
	}
	if rows := h.rows("kitchen", "t", history.Days); len(rows) != 2 || rows[0].Mean() != 20.5 || rows[1].Mean() != 22 {
		t.Errorf("rows: %+v", rows)
	}
	h.check()
}

// Rows of five minutes once had a bucket for each day, and all rows were chunks.
// They are read, and written anew with what comes to their month.
func TestRowsOfDaysAreReadAndMovedToTheirMonth(t *testing.T) {
	h := open(t)
	before, err := os.ReadFile("testdata/day-buckets.txt")
	if err != nil {
		t.Fatal(err)
	}
	h.fill(string(before))
	h.check()
	read := func() (all [3][]rollup.Row) {
		for i, l := range []history.Level{history.FiveMinutes, history.Hours, history.Days} {
			all[i] = h.rows("kitchen", "t", l)
		}
		return all
	}
	want := read()
	if len(want[0]) != 3 || want[0][1].Last != protocol.Int(21) {
		t.Fatalf("rows: %+v", want[0])
	}
	h.merge(midnight.Add(2 * day))
	if d := cmp.Diff(want, read(), exact); d != "" {
		t.Errorf("rows after merging (-before +after):\n%s", d)
	}
	h.check()
	h.view(func(r *history.Reader) {
		var names []string
		_ = r.Tx.Bucket(history.Bucket(history.FiveMinutes)).ForEach(func(k, _ []byte) error {
			names = append(names, string(k))
			return nil
		})
		if d := cmp.Diff([]string{"202611", "202612"}, names); d != "" {
			t.Errorf("buckets of five minutes (-want +got):\n%s", d)
		}
	})
}

// fill puts in what a document shows.
func (h *home) fill(document string) {
	h.Helper()
	h.update(func(tx *bolt.Tx) error {
		var at *bolt.Bucket
		var key, value []byte
		for line := range strings.Lines(document) {
			text := strings.TrimSpace(line)
			switch indent := len(line) - len(strings.TrimLeft(line, " ")); indent {
			case 0:
				path, sequence, _ := strings.Cut(text, " sequence ")
				name, span, _ := strings.Cut(path, "/")
				at = tx.Bucket([]byte(name))
				if span != "" {
					n, err := strconv.ParseUint(sequence, 10, 64)
					if err != nil {
						return err
					}
					if at, err = at.CreateBucket([]byte(span)); err != nil {
						return err
					}
					if err := at.SetSequence(n); err != nil {
						return err
					}
				}
			case 2:
				key, value = unhex(h, text), nil
			default:
				value = append(value, unhex(h, text)...)
				if err := at.Put(key, value); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
