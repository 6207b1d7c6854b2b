package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// importer takes lines of an export into a store, those that it does not have.
// One goroutine at a time uses it.
type importer struct {
	store    *store.Store
	registry *registry.Registry
	create   bool // devices that are not there

	seed maphash.Seed
	days map[int64]*importDay
	uses int64
}

func newImporter(s *store.Store, r *registry.Registry, create bool) *importer {
	return &importer{store: s, registry: r, create: create, seed: maphash.MakeSeed(), days: map[int64]*importDay{}}
}

// importDay is what the store has of one day (UTC, by the records' times), as
// hashes: a home says millions of values a day, and each of them costs 8 bytes.
type importDay struct {
	sorted []uint64
	fresh  map[uint64]struct{} // since it was sorted
	used   int64
}

// Limits of an import.
const (
	importBatch  = 4000    // lines at a time, and
	importBytes  = 1 << 20 // bytes, and one line
	importHashes = 4 << 20 // of days that are remembered, 32 MB
	importFresh  = 1 << 14
)

// importAnswer is what became of a batch of lines.
type importAnswer struct {
	New      int       `json:"new"`
	Repeated int       `json:"repeated"` // the store had them
	Created  []string  `json:"created,omitempty"`
	Bad      []badLine `json:"bad,omitempty"`
}

// add takes lines in and returns when they are on disk. Unless skip is set it ends
// at the first one that is bad; what came before is in.
func (im *importer) add(ctx context.Context, lines []imported, skip bool) (a importAnswer, err error) {
	told := make(importTold, len(lines))
	var waiting int
	var e *store.Entry
	say := func(how store.Urgency) error {
		if e == nil {
			return nil
		}
		err := im.append(ctx, e, how, told)
		if err == nil {
			waiting++
		}
		e = nil
		return err
	}
	var last *imported
	for i := range lines {
		l := &lines[i]
		if why := im.device(l.Device, &a); why != nil {
			a.Bad = append(a.Bad, badLine{l.Line, why.Error()})
			if !skip {
				break
			}
			continue
		}
		fresh, err := im.isNew(ctx, l)
		if err != nil {
			return a, err
		}
		if !fresh {
			a.Repeated++
			continue
		}
		if last == nil || !l.sameFrame(last) || e != nil && len(e.Records) == protocol.DefaultRecords {
			if err := say(store.Measured); err != nil {
				return a, err
			}
		}
		if e == nil {
			e = &store.Entry{Kind: store.Imported, Device: l.Device, Boot: l.Boot, Seq: l.Seq, Command: l.Command, Received: l.Received}
		}
		e.Records = append(e.Records, l.Record)
		last = l
		a.New++
	}
	if err := say(store.Now); err != nil { // nothing of this batch comes after it
		return a, err
	}
	for range waiting {
		err = errors.Join(err, <-told)
	}
	return a, err
}

// importTold is a store.Waiter.
type importTold chan error

// Committed is called by the store.
func (t importTold) Committed(_ *store.Entry, err error) { t <- err }

// append waits while the store has too much to do: devices come first.
func (im *importer) append(ctx context.Context, e *store.Entry, how store.Urgency, told importTold) error {
	for {
		_, err := im.store.Append(e, how, told)
		if !errors.Is(err, store.ErrOverloaded) {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// device is nil if id is of the home, or can be.
func (im *importer) device(id string, a *importAnswer) error {
	if _, ok := im.registry.Get(id); ok {
		return nil
	}
	if !im.create {
		return fmt.Errorf("device %q is not known; add it (hearthgate device add %s), or let --create do it", id, id)
	}
	if _, err := im.registry.Add(id, ""); err != nil {
		return err
	}
	a.Created = append(a.Created, id)
	return nil
}

// isNew notes a line and reports whether the store lacks it.
func (im *importer) isNew(ctx context.Context, l *imported) (bool, error) {
	d, err := im.day(ctx, l.Record.Time/int64(24*time.Hour))
	if err != nil {
		return false, err
	}
	h := im.hash(l)
	if _, there := d.fresh[h]; there {
		return false, nil
	}
	if _, there := slices.BinarySearch(d.sorted, h); there {
		return false, nil
	}
	d.fresh[h] = struct{}{}
	if len(d.fresh) >= importFresh {
		d.sort()
	}
	return true, nil
}

func (d *importDay) sort() {
	for h := range d.fresh {
		d.sorted = append(d.sorted, h)
	}
	slices.Sort(d.sorted)
	clear(d.fresh)
}

// hash tells records apart: by what they say, and by the frame that said it.
func (im *importer) hash(l *imported) uint64 {
	var h maphash.Hash
	h.SetSeed(im.seed)
	_, _ = h.WriteString(l.Device)
	_ = h.WriteByte(0)
	_, _ = h.WriteString(l.Record.Name)
	_ = h.WriteByte(0)
	_, _ = h.Write(l.Boot[:])
	var b [32]byte
	binary.LittleEndian.PutUint64(b[:], l.Seq)
	binary.LittleEndian.PutUint64(b[8:], l.Command)
	binary.LittleEndian.PutUint64(b[16:], uint64(l.Received))
	binary.LittleEndian.PutUint64(b[24:], uint64(l.Record.Time))
	_, _ = h.Write(b[:])
	_, _ = h.WriteString(l.Record.Value.String()) // its decimal: an export does not say the width
	return h.Sum64()
}

// day is what the store has of a day. It is read when the first line of it comes.
func (im *importer) day(ctx context.Context, n int64) (*importDay, error) {
	im.uses++
	d := im.days[n]
	if d == nil {
		im.makeRoom()
		d = &importDay{fresh: map[uint64]struct{}{}}
		from, to := time.Unix(n*86400, 0), time.Unix((n+1)*86400, 0)
		err := im.store.Export(ctx, "", from, to, func(e *store.Entry, r *protocol.Record) error {
			d.sorted = append(d.sorted, im.hash(&imported{
				Device: e.Device, Boot: e.Boot, Seq: e.Seq, Command: e.Command, Received: e.Received, Record: *r,
			}))
			return nil
		})
		if err != nil {
			return nil, err
		}
		slices.Sort(d.sorted)
		im.days[n] = d
	}
	d.used = im.uses
	return d, nil
}

// makeRoom forgets the days that were not used for the longest time.
func (im *importer) makeRoom() {
	for {
		held, oldest := 0, int64(-1)
		for n, d := range im.days {
			held += len(d.sorted) + len(d.fresh)
			if oldest < 0 || d.used < im.days[oldest].used {
				oldest = n
			}
		}
		if held < importHashes && len(im.days) < 1000 || oldest < 0 {
			return
		}
		delete(im.days, oldest)
	}
}

// importing is the import that a running gateway is in the middle of.
type importing struct {
	mu   sync.Mutex
	now  *importer
	idle *time.Timer // forgets it
}

// importPause is after how long without a batch an import is over.
const importPause = time.Minute

// receiveImport takes a batch of JSON lines in. ?begin=1 is the first of an import,
// ?create=1 makes devices, ?skip=1 goes on behind bad lines.
func (g *gateway) receiveImport(w http.ResponseWriter, r *http.Request) {
	if !g.importing.mu.TryLock() {
		refuse(w, http.StatusConflict, errors.New("an import is under way already"))
		return
	}
	defer g.importing.mu.Unlock()
	q := r.URL.Query()
	if g.importing.now == nil || q.Get("begin") != "" {
		g.importing.begin(newImporter(g.store, g.registry, q.Get("create") != ""))
	}
	g.importing.idle.Reset(importPause)
	lines, err := readBatch(http.MaxBytesReader(w, r.Body, importBytes+2*longestLine))
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	a, err := g.importing.now.add(r.Context(), lines, q.Get("skip") != "")
	if err != nil {
		g.importing.now = nil // what it knows of the store is not so
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(a)
}

func (i *importing) begin(im *importer) {
	i.now = im
	if i.idle == nil {
		i.idle = time.AfterFunc(importPause, func() {
			i.mu.Lock()
			i.now = nil
			i.mu.Unlock()
		})
	}
}

func readBatch(from io.Reader) (lines []imported, err error) {
	next, err := readLines(from)
	for err == nil {
		var l imported
		if l, err = next(); err == nil {
			lines = append(lines, l)
		}
		if len(lines) > importBatch {
			return nil, fmt.Errorf("more than %d lines at once", importBatch)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return lines, err
}
