package broker

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// keep leaves a session of the account behind that wants what is said of the lamp.
func keep(dial dialer, account, id string) {
	k := dial(v5)
	k.enter(hello{id: id, resume: true, props: "\x11" + num32(sessionLife), user: account, password: account})
	k.subscribe("hearthgate/lamp", 1, "")
	k.hangUp()
	synctest.Wait()
}

// everybody lets all accounts in whose password is their name.
type everybody struct{}

func (everybody) CheckMQTTUser(name, password string) bool { return name == password }
func (everybody) MQTTUsers() []string                      { return []string{"somebody"} }

// in runs test with clients that are asked who they are.
func in(t *testing.T, test func(b *Broker, dial dialer)) {
	t.Helper()
	inTime(t, func(t *testing.T, b *Broker, _ dialer) {
		b.opts.Accounts = everybody{}
		test(b, func(version byte) *talk {
			ours, theirs := pipe()
			t.Cleanup(func() { theirs.Close() })
			b.admit(ours)
			return &talk{t: t, conn: theirs, version: version}
		})
	})
}

// find is a session of that client id.
func (x *exchange) find(id string) *session {
	for key, s := range x.sessions {
		if key.id == id {
			return s
		}
	}
	return nil
}

func (b *Broker) has(id string) bool {
	b.exchange.mu.Lock()
	defer b.exchange.mu.Unlock()
	return b.exchange.find(id) != nil
}

// Guesses are not looked at for long, and the right password is, a moment later.
func TestGuessesAreSlowed(t *testing.T) {
	in(t, func(b *Broker, dial dialer) {
		counted := &countedAccounts{}
		b.opts.Accounts = counted
		try := func(password string) byte {
			_, code, _ := dial(v5).connect(hello{id: "g", user: "panel", password: password})
			return code
		}
		for range 200 {
			if code := try("guess"); code == 0 {
				t.Fatal("a wrong password let it in")
			}
		}
		if counted.looked != guessesAtOnce {
			t.Errorf("%d passwords were looked at, want %d", counted.looked, guessesAtOnce)
		}
		if code := try("panel"); code != byte(notAuthorized) {
			t.Errorf("the right one at that moment: %#x", code)
		}
		time.Sleep(guessEvery)
		if code := try("panel"); code != 0 {
			t.Errorf("the right one a moment later: %#x", code)
		}
		time.Sleep(time.Hour)
		for range 10 { // and the house forgets
			if code := try("old password"); code != byte(badUser) {
				t.Errorf("an hour later: %#x", code)
			}
		}
	})
}

type countedAccounts struct {
	everybody
	looked int
}

func (c *countedAccounts) CheckMQTTUser(name, password string) bool {
	c.looked++
	return c.everybody.CheckMQTTUser(name, password)
}

// Two accounts with one client id are two clients, each with what waits for it.
func TestAClientIDIsItsOwnersAlone(t *testing.T) {
	in(t, func(b *Broker, dial dialer) {
		keep(dial, "panel", "zigbee2mqtt")
		keep(dial, "mallory", "zigbee2mqtt")
		if err := b.Publish("hearthgate/lamp", false, []byte("ON")); err != nil {
			t.Fatal(err)
		}
		for _, account := range []string{"panel", "mallory"} {
			k := dial(v5)
			present := k.enter(hello{id: "zigbee2mqtt", resume: true, user: account, password: account})
			if !present {
				t.Errorf("the session of %s is gone", account)
			}
			k.hangUp()
			synctest.Wait()
		}
	})
}

// An account that leaves sessions behind, as many as there is room for, keeps
// nobody out but itself.
func TestWhoLeavesSessionsBehindKeepsNobodyOut(t *testing.T) {
	in(t, func(b *Broker, dial dialer) {
		keep(dial, "panel", "panel")
		time.Sleep(time.Second)
		for i := range maxSessions {
			keep(dial, "mallory", fmt.Sprint("m", i))
			time.Sleep(time.Second)
		}
		dial(v5).enter(hello{id: "homeassistant", user: "homeassistant", password: "homeassistant"})
		for id, want := range map[string]bool{"panel": true, "homeassistant": true, "m0": false, "m1": false, "m2": true, "m511": true} {
			if b.has(id) != want {
				t.Errorf("there is a session %s: %t", id, !want)
			}
		}
	})
}

// When too much waits for clients that are away, who has the most waiting goes.
func TestWhoIsAwayAndHasTheMostWaitingGoes(t *testing.T) {
	in(t, func(b *Broker, dial dialer) {
		publish := func() {
			if err := b.Publish("hearthgate/lamp", false, []byte("ON")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		keep(dial, "mallory", "more")
		publish()
		keep(dial, "panel", "less")
		publish()
		if !b.has("more") || !b.has("less") {
			t.Fatal("there is room for both")
		}
		b.queued.Add(maxCrowded)
		publish()
		if b.has("more") || !b.has("less") {
			t.Errorf("who has more is there: %t, who has less: %t", b.has("more"), b.has("less"))
		}
		b.queued.Add(-maxCrowded)
	})
}

// Who takes the place of a client that wanted no session kept begins anew: nothing
// was set aside of what is under way to it, so nothing can be sent again.
func TestASessionThatIsNotKeptIsNotTakenOver(t *testing.T) {
	for _, version := range []byte{v311, v5} {
		inTime(t, func(t *testing.T, b *Broker, dial dialer) {
			old := dial(version)
			old.enter(hello{id: "panel"})
			old.subscribe("hearthgate/lamp", 1, "")
			if err := b.Publish("hearthgate/lamp", false, []byte("ON")); err != nil {
				t.Fatal(err)
			}
			old.message() // and no PUBACK
			k := dial(version)
			if k.enter(hello{id: "panel", resume: true}) {
				t.Error("a session that was not to be kept is there")
			}
			k.nothing()
			k.subscribe("hearthgate/lamp", 1, "")
			if err := b.Publish("hearthgate/lamp", false, []byte("OFF")); err != nil {
				t.Fatal(err)
			}
			k.gets("hearthgate/lamp OFF q1")
			old.ends(takenOver)
		})
	}
}
