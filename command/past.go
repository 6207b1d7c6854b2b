package command

import "sync"

// maxPast is how many outcomes are remembered for those who ask later.
const maxPast = 256

// past remembers the last outcomes of commands that had an id, for askers that
// come back for theirs (HTTP).
type past struct {
	mu      sync.Mutex
	results [maxPast]Result
	next    int
}

func (p *past) add(r Result) {
	if r.ID == "" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.results[p.next] = r
	p.next = (p.next + 1) % maxPast
}

// find is the newest outcome with that id.
func (p *past) find(device, id string) (Result, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := 1; i <= maxPast; i++ {
		r := p.results[(p.next-i+maxPast)%maxPast]
		if r.ID == id && r.Device == device && id != "" {
			return r, true
		}
	}
	return Result{}, false
}
