package protocol

import "github.com/hearthgate/hearthgate/internal/cbor"

func (f *fields) error() Frame {
	f.need(1)
	return Error{Code: ErrorCode(f.uint(1, 0)), Message: f.text(2), Seq: f.uint(3, 0), Boot: f.boot(4)}
}

func (f *fields) hello() Frame {
	f.need(1)
	h := &Hello{
		Description:  f.hash(2),
		Firmware:     f.text(3),
		WakeInterval: f.uint(4, 0),
		MaxFrame:     f.uint(5, DefaultFrame),
		Heartbeat:    f.uint(8, 0),
		Commitment:   f.nonce(9, 32),
		CA:           f.hash(10),
	}
	if boot := f.boot(1); boot != nil {
		h.Boot = *boot
	}
	if h.MaxFrame < MinFrame {
		f.fail(Malformed, f.key(5)+" is below "+number(MinFrame))
	}
	if f.has(6) {
		clock := f.time(6)
		h.Clock = &clock
	}
	f.list(7, MaxBoots, func(r *cbor.Reader) {
		h.Boots = append(h.Boots, *f.readEight(r, 7))
	})
	return h
}

// telemetry answers for its seq: whatever else is wrong, the refusal names it,
// unless it cannot be read, or its boot cannot.
func (f *fields) telemetry() Frame {
	t := &Telemetry{Seq: f.between(1, 1, MaxSeq), Boot: f.boot(3)}
	settles := f.bad == nil
	t.Age = f.uint(4, 0)
	t.Uncertain = f.bool(5)
	f.need(2)
	if f.bad == nil {
		t.Records, f.bad = f.records(2)
	}
	if f.bad != nil && settles {
		f.bad.Seq, f.bad.Boot = t.Seq, t.Boot
	}
	return t
}

func (f *fields) result() Frame {
	r := &Result{ID: f.between(1, 0, MaxSeq), Code: ResultCode(f.uint(2, 0)), Message: f.text(3)}
	if f.has(4) {
		r.Records, r.Refused = f.records(4)
	}
	return r
}

func (f *fields) log() Frame {
	f.need(2)
	return Log{Level: min(f.uint(1, 1), 3), Text: f.text(2)}
}

func (f *fields) welcome() Frame {
	w := &Welcome{
		Device:     f.text(1),
		Time:       f.time(2),
		Heartbeat:  f.uint(3, 0),
		Settled:    f.uint(4, 0),
		Window:     f.uint(5, 0),
		MaxFrame:   f.uint(6, 0),
		Describe:   f.bool(7),
		Waiting:    f.uint(8, 0),
		Status:     f.uint(9, 0),
		Durability: Durability(f.uint(10, 0)),
		Nonce:      f.nonce(11, 16),
	}
	f.list(12, MaxBoots, func(r *cbor.Reader) {
		if n, err := r.Array(); err != nil || n != 2 {
			f.fail(Malformed, f.key(12)+" holds something else than pairs")
			return
		}
		boot := f.readEight(r, 12)
		seq, err := r.Uint()
		if err != nil {
			f.fail(Malformed, f.key(12)+" holds a seq that is no unsigned integer")
		}
		w.Boots = append(w.Boots, SettledBoot{Boot: *boot, Seq: seq})
	})
	return w
}

func (f *fields) ack() Frame {
	f.need(1)
	return Ack{Seq: f.uint(1, 0), Boot: f.boot(2)}
}

func (f *fields) command() Frame {
	c := &Command{ID: f.between(1, 0, MaxSeq), Left: f.uint(3, 0), Attempt: f.uint(4, 1)}
	f.need(2, 3)
	if f.bad == nil {
		c.Records, f.bad = f.records(2)
	}
	return c
}

func (f *fields) grant() Frame {
	g := &Grant{Device: f.text(1), Token: f.text(2), CA: f.bytes(3), ServerName: f.text(4), NextCA: f.bytes(6)}
	f.list(5, maxURLs, func(r *cbor.Reader) {
		g.URLs = append(g.URLs, f.readText(r, 5))
	})
	return g
}

func (f *fields) reveal() Frame {
	f.need(1)
	var v Reveal
	copy(v.Nonce[:], f.nonce(1, len(v.Nonce)))
	return v
}
