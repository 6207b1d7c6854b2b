package broker

import (
	"fmt"
	"slices"
	"sync"
	"testing"
)

// commandBook writes down what the gateway is given.
type commandBook struct {
	mu    sync.Mutex
	lines []string
}

func (o *commandBook) take(topic string, payload []byte, refused bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	line := topic + " " + string(payload)
	if refused {
		line += " (refused)"
	}
	o.lines = append(o.lines, line)
}

func (o *commandBook) read() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.lines)
}

const lampSet, lampCommand = "hearthgate/device/lamp/desk/set", "hearthgate/device/lamp/command"

// Who has the PUBACK of a command may be sure that the gateway has the command. A
// subscriber of the topic gets it as well, and nothing but commands is handed over.
func TestCommandsAreHandedToTheGateway(t *testing.T) {
	b, _ := start(t)
	var book commandBook
	b.OnCommand(book.take)
	watcher := connect(t, b)
	watcher.subscribe(t, "hearthgate/#", 1)
	program := connect(t, b)
	program.publish(t, lampSet, false, "ON")
	program.publish(t, "hearthgate/device/lamp/desk/brightness/set", false, "40")
	program.publish(t, lampCommand, false, "{}")
	program.publish(t, "hearthgate/device/lamp/desk/state", false, "ON") // forbidden
	program.publish(t, "workshop/device/lamp/command", false, "{}")
	program.publish(t, "hearthgatekeeper/device/lamp/command", false, "{}")
	if err := b.Publish("hearthgate/device/lamp/desk/state", true, []byte("ON")); err != nil {
		t.Fatal(err)
	}
	want := []string{lampSet + " ON", "hearthgate/device/lamp/desk/brightness/set 40", lampCommand + " {}"}
	if got := book.read(); !slices.Equal(got, want) {
		t.Errorf("the gateway got %q", got)
	}
	watcher.expect(t, lampSet, "ON")

	b.OnCommand(nil)
	program.publish(t, lampSet, false, "OFF") // acknowledged, and nobody acts on it
	if got := book.read(); len(got) != len(want) {
		t.Errorf("a bridge that is gone got %q", got[len(want):])
	}
}

// A retained command would be carried out at each start: nobody may give one, and
// the gateway learns that somebody tried.
func TestRetainedCommandsAreHandedOverAsRefused(t *testing.T) {
	b, _ := start(t)
	var book commandBook
	b.OnCommand(book.take)
	k := dialTCP(t, b.Addr().String())(v5)
	k.enter(hello{id: "k"})
	k.publish(1, true, 1, lampSet, "", "ON")
	if head, body := k.hear(); head != typePuback<<4 || reason(body[2]) != notAuthorized {
		t.Errorf("heard %#x %q, want a PUBACK that refuses", head, body)
	}
	connect(t, b).publish(t, lampSet, true, "ON") // 3.1.1 has no word for it
	connect(t, b, inMemory(b)).publish(t, lampSet, true, "")
	if got, want := book.read(), []string{lampSet + " ON (refused)", lampSet + " ON (refused)"}; !slices.Equal(got, want) {
		t.Errorf("the gateway got %q", got)
	}
}

// Each client's commands arrive in its order, however many publish at once, and
// also those of one that hangs up at once.
func TestCommandsKeepTheirSendersOrder(t *testing.T) {
	b, _ := start(t)
	var mu sync.Mutex
	next := map[string]int{}
	b.OnCommand(func(topic string, payload []byte, _ bool) {
		mu.Lock()
		defer mu.Unlock()
		if want := fmt.Sprint(next[topic]); string(payload) != want {
			t.Errorf("%s: %q comes where %s should", topic, payload, want)
		}
		next[topic]++
	})
	const clients, each = 4, 500
	for i := range clients {
		go func() {
			k := dialTCP(t, b.Addr().String())(v311)
			k.enter(hello{id: fmt.Sprint("k", i)})
			all := ""
			for n := range each {
				all += packet(typePublish<<4, []byte(str(fmt.Sprintf("hearthgate/device/lamp-%d/command", i))+fmt.Sprint(n)))
			}
			k.say(all)
			k.hangUp()
		}()
	}
	eventually(t, "all have come", func() bool {
		mu.Lock()
		defer mu.Unlock()
		all := 0
		for _, n := range next {
			all += n
		}
		return all == clients*each
	})
}

// A command may be a client's last will. The gateway answers while it takes it.
func TestAWillMayBeACommand(t *testing.T) {
	b, _ := start(t)
	var book commandBook
	b.OnCommand(func(topic string, payload []byte, refused bool) {
		book.take(topic, payload, refused)
		if !b.PublishNow("hearthgate/device/lamp/result", []byte("done")) {
			t.Error("the answer was not taken")
		}
	})
	watcher := connect(t, b)
	watcher.subscribe(t, "hearthgate/device/lamp/result", 1)
	k := dialTCP(t, b.Addr().String())(v311)
	k.enter(hello{id: "k", will: lampSet, lastWord: "OFF"})
	k.hangUp()
	watcher.expect(t, "hearthgate/device/lamp/result", "done")
	if got := book.read(); !slices.Equal(got, []string{lampSet + " OFF"}) {
		t.Errorf("the gateway got %q", got)
	}
}

// A bridge that stops may rely on it that no command is under way after.
func TestOnCommandWaitsForThoseUnderWay(t *testing.T) {
	b, _ := start(t)
	began, finish := make(chan struct{}), make(chan struct{})
	over := false
	b.OnCommand(func(string, []byte, bool) {
		close(began)
		<-finish
		over = true
	})
	program := connect(t, b)
	token := program.Publish(lampSet, 1, false, "ON")
	<-began
	stopped := make(chan bool)
	go func() {
		b.OnCommand(nil)
		stopped <- over
	}()
	close(finish)
	if !<-stopped {
		t.Error("it came back while a command was under way")
	}
	token.Wait()
}

// The same holds for what Homie controllers set, of all devices of that convention:
// the gateway knows its own. Retained it is refused for those alone.
func TestHomieSetsAreHandedToTheGateway(t *testing.T) {
	b, _ := start(t)
	b.rules.homie = "homie"
	var book commandBook
	b.OnCommand(book.take)
	program := connect(t, b)
	const set = "homie/5/hg-abcd1234-lamp/desk/on/set"
	program.publish(t, set, false, "true")
	program.publish(t, "homie/5/hg-abcd1234-lamp/desk/on", true, "true")
	program.publish(t, "homie/5/esp-7/relay/on/set", false, "true")
	program.publish(t, "homie/5/esp-7/relay/on/set", true, "true")
	program.publish(t, set, true, "true")
	if got, want := book.read(), []string{set + " true", "homie/5/esp-7/relay/on/set true", set + " true (refused)"}; !slices.Equal(got, want) {
		t.Errorf("the gateway got %q, want %q", got, want)
	}
}
