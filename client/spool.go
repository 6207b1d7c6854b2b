package client

import (
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

// NewBoot is a new name for a counter that starts at 1.
func NewBoot() protocol.Boot {
	var b protocol.Boot
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return b
}

// ErrDropped is the fate of a frame that had to make room for newer ones, or
// that the gateway closed the link over. Its number is left out for ever.
var ErrDropped = errors.New("dropped: it was never acknowledged")

// Rejection is the fate of a frame that the gateway refused.
type Rejection struct {
	Code    protocol.ErrorCode
	Message string
}

func (r *Rejection) Error() string { return "refused by the gateway: " + r.Message }

// Fate is how a reported frame ended. Err is nil when it was acknowledged.
type Fate struct {
	Boot      protocol.Boot
	Seq       uint64 // 0 = it was never sent
	Records   []protocol.Record
	Composed  time.Time
	Sent      time.Time // the first time
	Uncertain bool      // sent as of unknown age
	Err       error
}

// frame is one frame of the spool.
type frame struct {
	Fate
	held bool // acknowledged by a gateway whose storage fails: kept for a later session
}

// maxBoots is how many boots a hello can name: its own and seven others.
const maxBoots = 8

// spool holds what is not settled: frames that were sent, in the order in
// which they are sent again, and behind them those that never were. It is a
// plain value without lock or clock; Device guards it.
type spool struct {
	boot protocol.Boot
	seq  uint64 // the last one given
	keep int    // frames; beyond it the oldest is dropped

	sent   []*frame
	again  int // of sent: the first that this session has not sent yet
	flight int // of sent: on their way in this session, or waiting for their ack
	fresh  []*frame

	inMemory uint64 // acks so far that meant memory only
}

func (s *spool) len() int { return len(s.sent) + len(s.fresh) }

// add takes a new frame. What had to make room for it is returned.
func (s *spool) add(f *frame) (dropped *frame) {
	s.fresh = append(s.fresh, f)
	if s.len() <= s.keep {
		return nil
	}
	// What is on its way may arrive any moment, so the oldest of the rest goes.
	if len(s.sent) > 0 && (s.again == 0 || s.sent[0].held) {
		return s.dropSent(0)
	}
	f = s.fresh[0]
	s.fresh = s.fresh[1:]
	s.seq++ // a number left out says that something is missing here
	f.Err = ErrDropped
	return f
}

// dropOldest drops the oldest frame that was ever sent, nil if there is none.
func (s *spool) dropOldest() *frame {
	if len(s.sent) == 0 {
		return nil
	}
	return s.dropSent(0)
}

func (s *spool) dropSent(i int) *frame {
	f := s.take(i)
	f.Err = ErrDropped
	return f
}

// take removes sent[i].
func (s *spool) take(i int) *frame {
	f := s.sent[i]
	if i < s.again {
		s.again--
		if !f.held {
			s.flight--
		}
	}
	if i == 0 {
		s.sent = s.sent[1:] // the usual case, without moving the rest
	} else {
		s.sent = slices.Delete(s.sent, i, i+1)
	}
	return f
}

// next is the next frame to send while fewer than window are on their way,
// nil if there is none. It gives a new frame its number.
func (s *spool) next(window int, now time.Time) *frame {
	if s.flight >= window {
		return nil
	}
	if s.again == len(s.sent) {
		if len(s.fresh) == 0 {
			return nil
		}
		f := s.fresh[0]
		s.fresh = s.fresh[1:]
		s.seq++
		f.Boot, f.Seq, f.Sent = s.boot, s.seq, now
		s.sent = append(s.sent, f)
	}
	f := s.sent[s.again]
	s.again++
	s.flight++
	return f
}

// ack settles every frame of boot up to seq and returns them. With hold they
// only leave the window: that ack did not mean "on disk".
func (s *spool) ack(boot protocol.Boot, seq uint64, hold bool) (settled []*frame) {
	for i := 0; i < len(s.sent); {
		f := s.sent[i]
		switch {
		case f.Boot != boot || f.Seq > seq:
			i++
		case !hold:
			settled = append(settled, s.take(i))
		default:
			if i < s.again && !f.held {
				f.held = true
				s.flight--
				s.inMemory++
			}
			i++
		}
	}
	return settled
}

// refuse settles the frame of boot and seq alone.
func (s *spool) refuse(boot protocol.Boot, seq uint64, why *Rejection) *frame {
	for i, f := range s.sent {
		if f.Boot == boot && f.Seq == seq {
			s.take(i)
			f.Err = why
			return f
		}
	}
	return nil
}

// resume begins a session: what the welcome says is settled goes, the rest of
// what was sent will be sent again. clash says that the gateway knows our boot
// with a higher counter than ours, so that it names someone else's frames.
func (s *spool) resume(w *protocol.Welcome) (settled []*frame, clash bool) {
	s.again, s.flight = 0, 0
	for _, f := range s.sent {
		f.held = false
	}
	if w.Settled > s.seq {
		return nil, true
	}
	hold := w.Durability == protocol.InMemory
	if hold {
		return nil, false
	}
	settled = s.ack(s.boot, w.Settled, false)
	for _, b := range w.Boots {
		settled = append(settled, s.ack(b.Boot, b.Seq, false)...)
	}
	return settled, false
}

// rename gives the counter another boot from 1 on. Frames that carry the old
// name become fresh ones, ahead of the others.
func (s *spool) rename(boot protocol.Boot) {
	var mine []*frame
	s.sent = slices.DeleteFunc(s.sent, func(f *frame) bool {
		if f.Boot != s.boot {
			return false
		}
		f.Boot, f.Seq = protocol.Boot{}, 0
		mine = append(mine, f)
		return true
	})
	s.fresh = append(mine, s.fresh...)
	s.boot, s.seq, s.again, s.flight = boot, 0, 0, 0
}

// restart begins a new boot and keeps the frames of older ones, of as many
// boots as a hello can name; the frames of the oldest go beyond that.
func (s *spool) restart(boot protocol.Boot) (dropped []*frame) {
	s.boot, s.seq, s.again, s.flight = boot, 0, 0, 0
	for len(s.others()) > maxBoots-1 {
		oldest := s.sent[0].Boot
		for len(s.sent) > 0 && s.sent[0].Boot == oldest {
			dropped = append(dropped, s.dropSent(0))
		}
	}
	return dropped
}

// others are the boots besides our own that frames carry.
func (s *spool) others() (boots []protocol.Boot) {
	for _, f := range s.sent {
		if f.Boot != s.boot && !slices.Contains(boots, f.Boot) {
			boots = append(boots, f.Boot)
		}
	}
	return boots
}
