package main

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// card is a disk that notes how much of what was written it was let keep at once.
type card struct {
	bytes.Buffer
	dirty, most, syncs int
}

func (c *card) Write(b []byte) (int, error) {
	c.dirty += len(b)
	c.most = max(c.most, c.dirty)
	return c.Buffer.Write(b)
}

func (c *card) Sync() error { c.dirty = 0; c.syncs++; return nil }

func TestABackupLeavesTheCardToCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 1 << 20
		c := &card{}
		p := &paced{ctx: t.Context(), to: c, rate: rate}
		began := time.Now()
		content := bytes.Repeat([]byte("0123456789abcdef"), 5<<18/16)
		for i := range 12 { // in pieces that fit nothing
			if _, err := p.Write(content[:len(content)-i]); err != nil {
				t.Fatal(err)
			}
			elapsed := time.Since(began)
			if most := int64(elapsed.Seconds()*rate) + 2*paceStep; int64(c.Len()) > most {
				t.Fatalf("%d bytes after %s", c.Len(), elapsed)
			}
		}
		if least := time.Duration(float64(c.Len()-3*paceStep) / rate * float64(time.Second)); time.Since(began) < least {
			t.Errorf("%d bytes took %s of the disk's time", c.Len(), time.Since(began))
		}
		if c.most > paceStep {
			t.Errorf("a commit would have waited behind %d bytes", c.most)
		}
	})
}

func TestABackupThatNobodyWantsStopsWaiting(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := &paced{ctx: ctx, to: &card{}, rate: 64 << 10}
	if _, err := p.Write(make([]byte, 4<<20)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	fast := &card{}
	p = &paced{ctx: t.Context(), to: fast}
	if _, err := p.Write(make([]byte, 4<<20)); err != nil || fast.syncs > 0 {
		t.Errorf("without a rate: %v, %d syncs", err, fast.syncs)
	}
}

func TestRates(t *testing.T) {
	for text, want := range map[string]int64{"5MB/s": 5 << 20, "5 MB/s": 5 << 20, "500KB": 500 << 10, "1gb/s": 1 << 30, "0": 0, "0.5MB/s": 512 << 10, "1048576": 1 << 20, "100000 B/s": 100000} {
		if got, err := parseRate(text); err != nil || got != want {
			t.Errorf("%s: %d %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "fast", "-1MB/s", "5MB/h", "NaN", "5", "1e300GB", "MB"} {
		if got, err := parseRate(bad); err == nil {
			t.Errorf("%q gave %d", bad, got)
		}
	}
}
