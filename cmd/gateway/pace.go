package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// backupRate is how many bytes a second a backup of a running gateway copies if
// nobody says otherwise: half of what a slow SD card takes, so that commits find
// the card free.
const backupRate = 5 << 20

// paceStep is how much is written at a time, and made durable before the next: a
// commit never waits behind more than that.
const paceStep = 1 << 20

// paced is a file that is written at a rate.
type paced struct {
	ctx  context.Context
	to   syncWriter
	rate int64     // bytes a second; 0 = as fast as it goes
	step int64     // bytes since the last rest
	last time.Time // its end
}

type syncWriter interface {
	io.Writer
	Sync() error
}

func (p *paced) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		piece := b[:min(len(b), int(paceStep-p.step))]
		m, err := p.to.Write(piece)
		n, p.step = n+m, p.step+int64(m)
		if err != nil {
			return n, err
		}
		b = b[len(piece):]
		if p.step == paceStep {
			p.step = 0
			if err := p.rest(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// rest waits until what was written is durable and the time for it has passed.
func (p *paced) rest() error {
	if p.rate <= 0 {
		return p.ctx.Err()
	}
	if err := p.to.Sync(); err != nil {
		return err
	}
	began := p.last
	if began.IsZero() {
		began = time.Now()
	}
	took := time.Duration(float64(paceStep) / float64(p.rate) * float64(time.Second))
	wait := time.NewTimer(time.Until(began.Add(took)))
	defer wait.Stop()
	select {
	case <-wait.C:
		p.last = time.Now()
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

// parseRate reads 5MB/s, 500 KB/s or 0 (no limit).
func parseRate(text string) (int64, error) {
	s := strings.ToUpper(strings.ReplaceAll(text, " ", ""))
	s = strings.TrimSuffix(s, "/S")
	unit := int64(1)
	for _, u := range []struct {
		name  string
		bytes int64
	}{{"GB", 1 << 30}, {"MB", 1 << 20}, {"KB", 1 << 10}, {"B", 1}} {
		if rest, ok := strings.CutSuffix(s, u.name); ok {
			s, unit = rest, u.bytes
			break
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	rate := f * float64(unit)
	if err != nil || !(rate >= 0 && rate < 1<<50) || rate > 0 && rate < 64<<10 {
		return 0, fmt.Errorf("want a rate such as 5MB/s (64KB/s at least), or 0 for no limit, not %q", text)
	}
	return int64(rate), nil
}
