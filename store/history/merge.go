package history

import (
	"encoding/binary"
	"slices"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/chunk"
)

// merge writes the samples of a device and day as few chunks, without the series
// that are gone. all are what it has (which stay where they are if they are
// damaged, or full and at the beginning) and the pieces.
func (s *shelf) merge(device string, all []source, gone []string) error {
	next := uint32(0)
	for len(all) > 0 && !all[0].piece && all[0].full() {
		next = all[0].part.part + 1
		all = all[1:]
	}
	var old []source
	taken := map[uint32]bool{} // by what is damaged
	for _, c := range all {
		switch {
		case c.Chunk != nil && !c.piece:
			old = append(old, c)
		case c.Chunk == nil && !c.piece:
			taken[c.part.part] = true
		}
	}
	for _, c := range old {
		_, records := c.Len()
		if err := s.delete(c.key, records); err != nil {
			return err
		}
	}
	w := chunkWriter{put: func(value []byte, records int) error {
		for taken[next] {
			next++
		}
		next++
		return s.put(valueKey(device, next-1), value, records)
	}}
	for _, c := range all {
		if c.Chunk == nil {
			continue
		}
		frames, err := c.Frames()
		if err != nil {
			return err
		}
		if err := w.add(without(frames, gone)); err != nil {
			return err
		}
	}
	if err := w.flush(); err != nil {
		return err
	}
	return s.dropIfEmpty()
}

// full reports whether a chunk is not worth adding to.
func (s *source) full() bool {
	if s.Chunk == nil {
		return true
	}
	frames, records := s.Len()
	return frames >= partFrames/2 || records >= partRecords/2
}

// without removes series from frames, and frames in which nothing is left.
func without(frames []chunk.Frame, gone []string) []chunk.Frame {
	if len(gone) == 0 {
		return frames
	}
	kept := frames[:0]
	for _, f := range frames {
		f.Records = slices.DeleteFunc(f.Records, func(r protocol.Record) bool { return slices.Contains(gone, r.Name) })
		if len(f.Records) > 0 {
			kept = append(kept, f)
		}
	}
	return kept
}

// mark notes that the pieces of a device are merged. Damaged ones are set aside:
// the bucket will be dropped.
func (s *shelf) mark(device string, all []source) error {
	last := uint32(0)
	for _, c := range all {
		if !c.piece {
			continue
		}
		last, _, _, _ = parsePieceKey(c.key)
		if c.Chunk == nil {
			name := append(append([]byte(nil), s.name...), c.key...)
			if err := s.tx.Bucket(bucketDamaged).Put(name, c.value); err != nil {
				return err
			}
		}
	}
	return s.put(markKey(device), binary.BigEndian.AppendUint32(nil, last), 0)
}
