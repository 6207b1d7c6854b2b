package broker

import (
	"net/netip"
	"sync"
	"time"
)

// A password costs a hash that is slow on purpose, so who guesses must not have the
// processor to himself: an address has so many wrong ones at once and then one in
// guessEvery. A client with an old password that tries every second stays below.
const (
	guessesAtOnce = 30
	guessEvery    = 500 * time.Millisecond
	maxGuessers   = 1024 // addresses; beyond it all are forgiven
)

// guesses counts wrong passwords by address.
type guesses struct {
	mu sync.Mutex
	by map[netip.Addr]*guesser
}

// guesser is a bucket that fills by itself.
type guesser struct {
	spent int
	since time.Time
}

// mayGuess reports whether a password from there may be looked at.
func (g *guesses) mayGuess(from netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	w := g.by[from]
	if w == nil {
		return true
	}
	back := int(time.Since(w.since) / guessEvery)
	if w.spent -= back; w.spent <= 0 {
		delete(g.by, from)
		return true
	}
	w.since = w.since.Add(time.Duration(back) * guessEvery)
	return w.spent < guessesAtOnce
}

// wrong notes a wrong password.
func (g *guesses) wrong(from netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.by) >= maxGuessers || g.by == nil {
		g.by = map[netip.Addr]*guesser{}
	}
	if g.by[from] == nil {
		g.by[from] = &guesser{since: time.Now()}
	}
	g.by[from].spent++
}
