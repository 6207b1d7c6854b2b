package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
)

// progress is a line on a terminal that says how far something is. The zero
// progress, for everything else than a terminal, says nothing.
type progress struct {
	mu    sync.Mutex
	to    io.Writer
	width int
	what  string
	of    int64 // bytes; 0: nobody knows
	at    int64
	note  string
	began time.Time
	drawn time.Time
}

// drawEvery is often enough for eyes.
const drawEvery = 100 * time.Millisecond

// quietFlag gives a command --quiet.
func quietFlag(c *cobra.Command) {
	c.Flags().Bool("quiet", false, "no progress and no closing words, only errors")
}

// progressOf begins the progress of a command.
func progressOf(c *cobra.Command, what string) *progress {
	quiet, _ := c.Flags().GetBool("quiet")
	width, terminal := columns(c.ErrOrStderr())
	if quiet || !terminal {
		return &progress{}
	}
	return &progress{to: c.ErrOrStderr(), width: width, what: what, began: time.Now()}
}

// phase begins another part of the work.
func (p *progress) phase(what string, of int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.what, p.of, p.at, p.began, p.drawn = what, of, 0, time.Now(), time.Time{}
}

// add says that n bytes more are done.
func (p *progress) add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at += int64(n)
	p.draw()
}

// set says how many bytes of how many are done.
func (p *progress) set(at, of int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at, p.of = at, of
	p.draw()
}

// says adds words at the end of the line.
func (p *progress) says(note string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note = note
}

func (p *progress) draw() {
	now := time.Now()
	if p.to == nil || now.Sub(p.drawn) < drawEvery {
		return
	}
	p.drawn = now
	fmt.Fprint(p.to, "\r", p.line(now), "\x1b[K")
}

// line is never wider than the terminal: a second one could not be taken back.
func (p *progress) line(now time.Time) string {
	text := bytesText(p.at)
	if p.of > 0 {
		done := min(1, float64(p.at)/float64(p.of))
		text = fmt.Sprintf("%3.0f %%  %s of %s", 100*done, bytesText(p.at), bytesText(p.of))
		if spent := now.Sub(p.began); spent > time.Second && done > 0.01 && done < 1 {
			text += fmt.Sprintf("  %s left", (time.Duration(float64(spent) * (1 - done) / done)).Round(time.Second))
		}
		if room := p.width - len([]rune(p.what)) - len(text) - len([]rune(p.note)) - 8; room >= 10 {
			room = min(room, 40)
			full := int(done * float64(room))
			text = "[" + strings.Repeat("#", full) + strings.Repeat(".", room-full) + "] " + text
		}
	}
	line := []rune(p.what + "  " + text)
	if p.note != "" {
		line = append(line, []rune("  "+p.note)...)
	}
	return string(line[:min(len(line), max(p.width-1, 0))])
}

// end takes the line back.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.to != nil && !p.drawn.IsZero() {
		fmt.Fprint(p.to, "\r\x1b[K")
	}
	p.to = nil
}

// reader counts what is read from r.
func (p *progress) reader(r io.Reader) io.Reader { return countingReader{r, p} }

type countingReader struct {
	io.Reader
	p *progress
}

func (c countingReader) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.p.add(n)
	return n, err
}
