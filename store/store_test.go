package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

type acks chan *store.Entry

func (a acks) Committed(e *store.Entry, err error) {
	if err != nil {
		panic(err)
	}
	a <- e
}

// A day in the life: append, read, close, and find everything again.
func TestStoreKeepsWhatItWasTold(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(store.Options{Dir: dir, Commit: 0})
	if err != nil {
		t.Fatal(err)
	}
	tail, err := s.Tail("mqtt")
	if err != nil {
		t.Fatal(err)
	}
	tab, err := store.OpenTable[map[string]int](s, "x")
	if err != nil {
		t.Fatal(err)
	}
	now := int64(1795219200000)
	a := make(acks, 5000)
	for i := 0; i < 2000; i++ {
		rep, err := s.Append(&store.Entry{Kind: store.Telemetry, Device: fmt.Sprint("d", i%10), Boot: protocol.Boot{1}, Seq: uint64(i/10 + 1), Received: now + int64(i),
			Records: []protocol.Record{{Name: "t", Value: protocol.Float(float64(i)), Time: (now + int64(i)) * 1e6}}}, store.Measured, a)
		if err != nil || rep {
			t.Fatal(err, rep)
		}
	}
	for i := 0; i < 2000; i++ {
		<-a
	}
	if err := tab.PutSync("a", map[string]int{"b": 1}); err != nil {
		t.Fatal(err)
	}
	var n int
	for n < 2000 {
		es, sk, err := tail.Next(context.Background(), 100)
		if err != nil || sk != 0 {
			t.Fatal(err, sk)
		}
		n += len(es)
		tail.Advance(es[len(es)-1].Pos)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = store.Open(store.Options{Dir: dir, Commit: -1})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Hello("d3", []protocol.Boot{{1}, {2}}); got[0] != 200 || got[1] != 0 {
		t.Errorf("settled %v, want 200 and 0", got)
	}
	if v, ok := s.NewestOf("d3", "t"); !ok || v.Value != protocol.Float(1993) {
		t.Errorf("newest %v %v", v.Value.Bits(), ok)
	}
	h, err := s.History(context.Background(), "d3", "t", time.Time{}, time.Now().AddDate(10, 0, 0), 0)
	if err != nil || len(h) != 200 {
		t.Fatal(err, len(h))
	}
	tab, _ = store.OpenTable[map[string]int](s, "x")
	v, ok, err := tab.Get("a")
	if v["b"] != 1 || !ok || err != nil {
		t.Fatal(v, ok, err)
	}
	rep, err := s.Append(&store.Entry{Kind: store.Telemetry, Device: "d3", Boot: protocol.Boot{1}, Seq: 7, Received: now}, store.Measured, a)
	if !rep || err != nil {
		t.Fatal(rep, err)
	}
	<-a
	if _, err := store.Open(store.Options{Dir: dir}); !errors.Is(err, store.ErrLocked) {
		t.Errorf("a second Open: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
