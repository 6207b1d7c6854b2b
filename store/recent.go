package store

// recentBytes is about how much memory the entries at the head of the log may
// take, so that readers who keep up never read the file.
const recentBytes = 4 << 20

// recent holds the last entries of the log, without a gap. Guarded by
// Store.tails.
type recent struct {
	entries []*Entry // from gone on
	gone    int
	bytes   int64
}

// footprint is about what e takes in memory.
func footprint(e *Entry) int64 { return 200 + weight(e) + int64(len(e.Records))*96 }

func (r *recent) add(e *Entry) {
	r.entries = append(r.entries, e)
	r.bytes += footprint(e)
	for r.bytes > recentBytes && r.gone < len(r.entries)-1 {
		r.bytes -= footprint(r.entries[r.gone])
		r.entries[r.gone] = nil
		r.gone++
	}
	if r.gone > len(r.entries)/2 {
		n := copy(r.entries, r.entries[r.gone:])
		clear(r.entries[n:])
		r.entries, r.gone = r.entries[:n], 0
	}
}

// first is the position from which on entries are in memory.
func (r *recent) first() (pos Position, ok bool) {
	if r.gone == len(r.entries) {
		return 0, false
	}
	return r.entries[r.gone].Pos, true
}

// from copies up to max entries from pos on; ok is false when pos is further
// back than memory goes.
func (r *recent) from(pos Position, max int) (entries []*Entry, ok bool) {
	have := r.entries[r.gone:]
	if len(have) == 0 || pos < have[0].Pos {
		return nil, false
	}
	have = have[min(int(pos-have[0].Pos), len(have)):]
	return append([]*Entry(nil), have[:min(max, len(have))]...), true
}
