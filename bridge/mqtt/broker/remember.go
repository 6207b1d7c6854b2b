package broker

import "unsafe"

// Who gets the messages of a topic is found once and remembered with the topic. A
// client chooses how many filters match and how many topics there are, so what is
// remembered has a bound; beyond it all is forgotten and found again when needed.

// maxRemembered is in bytes: 10,000 topics with ten subscribers each take half.
const maxRemembered = 32 << 20

// remember counts what match found for t. Called with the exchange's mu held.
func (x *exchange) remember(t *topic) {
	t.remembered = 8 * len(t.shares)
	for i := range t.targets {
		g := &t.targets[i]
		t.remembered += int(unsafe.Sizeof(*g)) + 8*len(g.subscriptions) + len(g.identifiers)
	}
	if x.remembered += t.remembered; x.remembered <= x.mayRemember {
		return
	}
	for _, other := range x.topics {
		if other != t {
			x.unremember(other)
		}
	}
	x.remembered = t.remembered
}

// unremember makes the next message of t look for its targets again.
func (x *exchange) unremember(t *topic) {
	x.remembered -= t.remembered
	t.targets, t.shares, t.generation, t.remembered = nil, nil, 0, 0
}
