package devices

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

func TestOneAddressIsSlowedDown(t *testing.T) {
	l := newAddresses(20, 0)
	now := time.Now()
	a, b := addressKey("192.0.2.1:1000"), addressKey("192.0.2.2:1000")
	admitted := 0
	for range 10000 {
		if ok, wait := l.enter(a, now); ok {
			admitted++
		} else if wait <= 0 || wait > time.Second {
			t.Fatalf("try again in %v", wait)
		}
	}
	if admitted != 40 {
		t.Errorf("%d connections at one moment, want a burst of 40", admitted)
	}
	if ok, _ := l.enter(b, now); !ok {
		t.Error("another address was held up too")
	}
	admitted = 0
	for i := range 1000 {
		if ok, _ := l.enter(a, now.Add(time.Duration(i)*10*time.Millisecond)); ok {
			admitted++
		}
	}
	if admitted < 198 || admitted > 201 {
		t.Errorf("%d in ten seconds, want 200", admitted)
	}
}

func TestOneAddressHoldsSoManyLinks(t *testing.T) {
	l := newAddresses(0, 2)
	k := addressKey("192.0.2.1:1")
	now := time.Now()
	for _, want := range []bool{true, true, false, false} {
		if ok, _ := l.enter(k, now); ok != want {
			t.Fatalf("admitted %t, want %t", ok, want)
		}
	}
	l.leave(k)
	if ok, _ := l.enter(k, now); !ok {
		t.Error("a link that ended still counts")
	}
}

func TestTheLimiterForgets(t *testing.T) {
	l := newAddresses(20, 512)
	now := time.Now()
	held := addressKey("192.0.2.1:1")
	l.enter(held, now)
	for i := range 100_000 {
		k := addressKey(fmt.Sprintf("[2001:db8:%x:%x::1]:1", i>>16, i&0xffff))
		l.enter(k, now)
		l.leave(k)
	}
	if n := len(l.of); n > maxAddresses+1 {
		t.Errorf("%d addresses are remembered", n)
	}
	if l.of[held] == nil {
		t.Error("an address with a link was forgotten")
	}
}

func TestAddressKey(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:5":              "192.0.2.1",
		"[::ffff:192.0.2.1]:5":     "192.0.2.1",
		"[2001:db8:1:2:aaaa::1]:5": "2001:db8:1:2::",
		"[2001:db8:1:2:bbbb::2]:5": "2001:db8:1:2::",
		"[fe80::1%eth0]:5":         "fe80::",
		"not an address":           "invalid IP",
		"":                         "invalid IP",
	} {
		if got := addressKey(remote); got.String() != want {
			t.Errorf("%q: %v, want %s", remote, got, want)
		}
	}
	if addressKey("x") != (netip.Addr{}) {
		t.Error("what cannot be parsed must share one key")
	}
}
