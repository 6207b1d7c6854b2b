package mqtt

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/hearthgate/hearthgate/protocol"
)

// logged is a log that a test can look at while it is written.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

// A class that does not go with its unit is not sent, and that is said where
// someone who looks for it would look.
func TestWhatHomeAssistantWouldNotTakeIsSaid(t *testing.T) {
	br := embedded(t)
	h := newHome(t)
	h.add("kitchen", protocol.Component{ID: "oven", Kind: "sensor", Unit: "W", Class: "temperature"})
	c := newClient(t, br.Dial, "hearthgate/device/kitchen/info", "homeassistant/#")
	log := &logged{}
	o := viaEmbedded(br)
	o.Log = slog.New(slog.NewTextHandler(log, nil))
	h.run(o)
	c.expectThat("the card", func(x heard) bool {
		return strings.Contains(x.payload, `"warnings":["oven: the class \"temperature\" does not go with the unit \"W\"; left out"]`)
	})
	c.expectThat("discovery", func(x heard) bool {
		return strings.Contains(x.payload, `"oven":{`) && !strings.Contains(x.payload, `"device_class":"temperature"`)
	})
	if err := h.reg.Rename("kitchen", "Big kitchen"); err != nil {
		t.Fatal(err)
	}
	c.expectThat("the new name", func(x heard) bool { return strings.Contains(x.payload, `"name":"Big kitchen"`) })
	if n := log.count("device=kitchen component=oven"); n != 1 {
		t.Errorf("the log says it %d times, not once", n)
	}
}
