package devices

import (
	"net/netip"
	"sync"
	"time"
)

// bucket is a token bucket: rate a second, at most burst at once. The zero
// bucket is full at its first use.
type bucket struct {
	tokens float64
	at     time.Time
}

// take takes one token. If there is none it reports how long until there is.
func (b *bucket) take(now time.Time, rate, burst float64) (wait time.Duration) {
	return b.takeMany(now, 1, rate, burst)
}

// takeMany takes n tokens as soon as there is one; the next to come waits for
// what is owed.
func (b *bucket) takeMany(now time.Time, n, rate, burst float64) (wait time.Duration) {
	if b.at.IsZero() {
		b.tokens = burst
	} else if gone := now.Sub(b.at); gone > 0 {
		b.tokens = min(burst, b.tokens+gone.Seconds()*rate)
	}
	b.at = now
	if b.tokens >= 1 {
		b.tokens -= n
		return 0
	}
	return 1 + time.Duration((1-b.tokens)/rate*float64(time.Second)) // rounded up: 0 says that it was taken
}

// allowance is a bucket that all links of a device share, so that a new link
// does not begin with a full one.
type allowance struct {
	mu     sync.Mutex // taken last: nothing else is locked while it is held
	bucket bucket
}

func (a *allowance) take(n, rate, burst float64) (wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.bucket.takeMany(time.Now(), n, rate, burst)
}

// What a device may give the disk to do, beside Options.DeviceRate. A home's
// devices stay far below; the burst is for one that comes back with a spool.
const (
	bytesAFrame = 4 << 10  // of each frame that its rate permits, in the long run
	bytesBurst  = 32 << 20 // of frames, before that counts

	describeRate  = 0.1 // new descriptions a second
	describeBurst = 16
)

// Bounds of the limiter's memory.
const maxAddresses = 4096 // without a link; those with one are bounded by Options.Links

// addresses limits what one address may do before it has shown a token: how
// many connections a second, and how many at once. IPv6 counts by /64, which
// is what one customer or one phone has at the least.
type addresses struct {
	rate  float64 // 0 = none
	links int     // 0 = none

	mu   sync.Mutex
	of   map[netip.Addr]*address
	idle int // of them have no link
}

func newAddresses(rate float64, links int) addresses {
	return addresses{rate: rate, links: links, of: map[netip.Addr]*address{}}
}

type address struct {
	bucket bucket
	links  int
}

// key is the address that is counted. What cannot be parsed shares one key.
func addressKey(remote string) netip.Addr {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	a := ap.Addr().Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64)
		return p.Addr()
	}
	return a
}

// enter counts a connection attempt. If it may go on it holds one link of the
// address until leave; if not, wait says when to try again.
func (l *addresses) enter(key netip.Addr, now time.Time) (ok bool, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.of[key]
	if a == nil {
		l.makeRoom(now)
		a = new(address)
		l.of[key] = a
		l.idle++
	}
	if l.rate > 0 {
		if wait := a.bucket.take(now, l.rate, max(1, 2*l.rate)); wait > 0 {
			return false, wait
		}
	}
	if l.links > 0 && a.links >= l.links {
		return false, 10 * time.Second
	}
	if a.links == 0 {
		l.idle--
	}
	a.links++
	return true, 0
}

// leave gives the link back.
func (l *addresses) leave(key netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.of[key]
	a.links--
	if a.links == 0 {
		l.idle++
	}
}

// makeRoom keeps the map bounded: it forgets addresses that are idle long
// enough to have a full bucket, and if that is not enough, any without a link,
// an eighth at a time, so that it costs little for each newcomer.
func (l *addresses) makeRoom(now time.Time) {
	if l.idle < maxAddresses {
		return
	}
	for k, a := range l.of {
		if a.links == 0 && now.Sub(a.bucket.at) > 2*time.Second {
			delete(l.of, k)
			l.idle--
		}
	}
	for k, a := range l.of {
		if l.idle < maxAddresses*7/8 {
			return
		}
		if a.links == 0 {
			delete(l.of, k)
			l.idle--
		}
	}
}
