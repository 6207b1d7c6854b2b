package history

import (
	"cmp"
	"errors"
	"slices"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/chunk"
	bolt "go.etcd.io/bbolt"
)

const (
	// partRecords and partFrames bound a chunk, so that one can be taken apart
	// in little memory.
	partRecords = 1 << 17
	partFrames  = 1 << 16

	// heldRecords is how many records a Batch holds as they are, some 100 bytes
	// each: what 50 devices say in an hour. More are packed meanwhile, as chunks of
	// their own, since the merge of the night makes fewer of them.
	heldRecords = 1 << 17
)

// Batch is what one transaction of sealing adds to history: the more, the
// smaller each sample becomes. It needs some 15 MB at most, however much that
// is. The zero value is ready. It serves one transaction only.
type Batch struct {
	piles map[pileKey]*pile
	held  int // records in the piles' frames
	err   error
}

type pileKey struct {
	day    day
	device string
}

// pile is what a device said of one day.
type pile struct {
	frames []chunk.Frame
	packed []packed // what came before these
}

// packed is a chunk.
type packed struct {
	value   []byte
	records int
}

// Add takes a frame, in the order of the log. Its records have times since 1970;
// without records there is nothing to keep. The records are not copied and must
// stay as they are until Put.
func (b *Batch) Add(device string, f chunk.Frame) {
	for len(f.Records) > 0 {
		d := dayOf(f.Records[0].Time)
		its, others := splitDay(f.Records, d)
		b.add(pileKey{d, device}, f, its)
		f.Records = others
	}
	if b.held > heldRecords && b.err == nil {
		b.err = b.pack()
	}
}

// splitDay separates the records of d from the others, as a rule there are none.
func splitDay(records []protocol.Record, d day) (its, others []protocol.Record) {
	all := true
	for i := range records {
		all = all && records[i].Absolute && dayOf(records[i].Time) == d
	}
	if all {
		return records, nil
	}
	for _, r := range records {
		r.Absolute = true
		if dayOf(r.Time) == d {
			its = append(its, r)
		} else {
			others = append(others, r)
		}
	}
	return its, others
}

func (b *Batch) add(key pileKey, f chunk.Frame, records []protocol.Record) {
	if b.piles == nil {
		b.piles = map[pileKey]*pile{}
	}
	p := b.piles[key]
	if p == nil {
		p = &pile{}
		b.piles[key] = p
	}
	f.Records = records
	p.frames = append(p.frames, f)
	b.held += len(records)
}

// pack makes room in memory.
func (b *Batch) pack() error {
	b.held = 0
	for _, p := range b.piles {
		if err := p.pack(); err != nil {
			return err
		}
	}
	return nil
}

func (p *pile) pack() error {
	w := chunkWriter{put: func(value []byte, records int) error {
		p.packed = append(p.packed, packed{value, records})
		return nil
	}}
	err := errors.Join(w.add(p.frames), w.flush())
	p.frames = nil
	return err
}

// Put writes what was added as pieces.
func (b *Batch) Put(tx *bolt.Tx) error {
	if b.err != nil {
		return b.err
	}
	keys := make([]pileKey, 0, len(b.piles))
	for k := range b.piles {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b pileKey) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.device, b.device))
	})
	for len(keys) > 0 {
		n := 1
		for n < len(keys) && keys[n].day == keys[0].day {
			n++
		}
		if err := b.putDay(tx, keys[:n]); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}

// putDay writes the pieces of one day under the number that follows.
func (b *Batch) putDay(tx *bolt.Tx, keys []pileKey) error {
	s := openShelf(tx, pieces, keys[0].day)
	if err := s.create(); err != nil {
		return err
	}
	batch := lastBatch(s.b) + 1
	for _, key := range keys {
		p := b.piles[key]
		if err := p.pack(); err != nil {
			return err
		}
		for part, c := range p.packed {
			if err := s.put(pieceKey(batch, key.device, uint32(part)), c.value, c.records); err != nil {
				return err
			}
		}
	}
	return nil
}

// chunkWriter makes chunks of bounded size from frames in the order of the log.
type chunkWriter struct {
	put     func(value []byte, records int) error
	frames  []chunk.Frame
	records int
}

func (w *chunkWriter) add(frames []chunk.Frame) error {
	for _, f := range frames {
		if w.records > 0 && w.records+len(f.Records) > partRecords || len(w.frames) == partFrames {
			if err := w.flush(); err != nil {
				return err
			}
		}
		w.frames = append(w.frames, f)
		w.records += len(f.Records)
	}
	return nil
}

func (w *chunkWriter) flush() error {
	values, err := encode(w.frames)
	if err != nil {
		return err
	}
	w.frames, w.records = w.frames[:0], 0
	for _, v := range values {
		c, err := chunk.Open(v)
		if err != nil {
			return err
		}
		_, records := c.Len()
		if err := w.put(v, records); err != nil {
			return err
		}
	}
	return nil
}

// encode packs frames into one chunk, or several where one is not enough.
func encode(frames []chunk.Frame) ([][]byte, error) {
	if len(frames) == 0 {
		return nil, nil
	}
	value, err := chunk.Encode(frames)
	if errors.Is(err, chunk.ErrTooLarge) && len(frames) > 1 {
		half := len(frames) / 2
		a, err := encode(frames[:half])
		if err != nil {
			return nil, err
		}
		b, err := encode(frames[half:])
		return append(a, b...), err
	}
	if err != nil {
		return nil, err
	}
	return [][]byte{value}, nil
}
