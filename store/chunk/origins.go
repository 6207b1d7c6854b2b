package chunk

import "encoding/binary"

// Which of its two numbers a frame has.
const (
	originSeq = iota
	originCommand
	originBoth
)

// originColumns is where the frames come from: receipts, boots, seqs, commands.
// Where things go as usual each of these is one constant: the receipt follows
// the time, one boot, the seq is the next.
func (e *encoder) originColumns(frames []Frame) []byte {
	if len(frames) == 0 {
		return nil
	}
	delays := make([]int64, len(frames))
	boots := make([]int64, len(frames))
	origins := make([]int64, len(frames))
	var list []byte
	var commands, seqs []int64
	known := map[[8]byte]int64{}
	var last []uint64 // seq, by boot
	for i := range frames {
		f := &frames[i]
		delays[i] = f.Received - floorDiv(e.times[i], 1e6)
		boot, ok := known[f.Boot]
		if !ok {
			boot = int64(len(known))
			known[f.Boot] = boot
			list = append(list, f.Boot[:]...)
			last = append(last, 0)
		}
		boots[i] = boot
		switch {
		case f.Command == 0:
			origins[i] = originSeq
		case f.Seq == 0:
			origins[i] = originCommand
		default:
			origins[i] = originBoth
		}
		if origins[i] != originCommand {
			seqs = append(seqs, int64(f.Seq-last[boot]-1))
			last[boot] = f.Seq
		}
		if origins[i] != originSeq {
			commands = append(commands, int64(f.Command))
		}
	}
	b := e.appendInts(nil, delays)
	b = binary.AppendUvarint(b, uint64(len(known)))
	b = append(b, list...)
	b = e.appendInts(b, boots)
	b = e.appendInts(b, origins)
	if len(seqs) > 0 {
		b = e.appendInts(b, seqs)
	}
	if len(commands) > 0 {
		b = e.appendInts(b, commands)
	}
	return b
}

// readOrigins makes the frames, yet without records.
func (c *Chunk) readOrigins(m *moments) ([]Frame, bool) {
	n := c.frames
	if n == 0 {
		return nil, true
	}
	r := newReader(c.origins)
	d := &c.decoder
	delays, ok1 := d.ints(r.Section(), n)
	count := r.Uvarint()
	if !ok1 || count > uint64(len(r.B))/8 {
		return nil, false
	}
	list := r.Take(count * 8)
	boots, ok1 := d.ints(r.Section(), n)
	origins, ok2 := d.ints(r.Section(), n)
	if !ok1 || !ok2 {
		return nil, false
	}
	var counts [originBoth + 1]int
	for i := range origins {
		if uint64(origins[i]) > originBoth || uint64(boots[i]) >= count {
			return nil, false
		}
		counts[origins[i]]++
	}
	seqs, ok1 := d.optional(&r, n-counts[originCommand])
	commands, ok2 := d.optional(&r, n-counts[originSeq])
	if !ok1 || !ok2 || r.Bad {
		return nil, false
	}
	last := make([]uint64, count)
	frames := make([]Frame, n)
	for i := range frames {
		f := &frames[i]
		f.Received = floorDiv(m.times[i], 1e6) + delays[i]
		copy(f.Boot[:], list[boots[i]*8:])
		if origins[i] != originCommand {
			f.Seq = last[boots[i]] + uint64(seqs[0]) + 1
			last[boots[i]], seqs = f.Seq, seqs[1:]
		}
		if origins[i] != originSeq {
			f.Command, commands = uint64(commands[0]), commands[1:]
		}
	}
	return frames, true
}

// optional reads a column that is left out when it would be empty.
func (d *decoder) optional(r *reader, n int) ([]int64, bool) {
	if n == 0 {
		return nil, true
	}
	return d.ints(r.Section(), n)
}
