package mqtt

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/bridge/mqtt/broker"
	"github.com/hearthgate/hearthgate/protocol"
)

// Whatever a device calls itself and its components, and however often it changes
// its mind: nothing is published outside our topics, and the work is bounded.
func TestADeviceThatDescribesItselfWithTricks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		br, err := broker.New(broker.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer br.Close()
		s := &shaky{Broker: br}
		h := newHome(t)
		defer h.close()
		h.add("evil")
		h.runWith(Options{Embedded: s}, func(b *Bridge) { b.debounce, b.settle = 2*time.Second, 5*time.Second })
		names := []string{"#", "+/+", "../../x", "$SYS/broker", "a\x00b", "{{ 7*7 }}", "\u202eevil", strings.Repeat("n", 100), `"},{"`, "</script>"}
		const minutes = 1
		for second := range minutes * 60 {
			var cs []protocol.Component
			for i := range 128 {
				name := names[(i+second)%len(names)]
				kind := []string{"sensor", "switch", "event", "text"}[(i+second)%4]
				id := "c" + string(rune('a'+i%26)) + string(rune('a'+i/26))
				cs = append(cs, protocol.Component{ID: id, Kind: kind, Name: name, Unit: name, Class: name, Options: []string{name}})
			}
			f, err := protocol.Decode(protocol.Append(nil, &protocol.Describe{Model: names[second%len(names)], Components: cs}), protocol.Limits{})
			if err == nil {
				_ = h.reg.Describe("evil", f.(*protocol.Describe))
			}
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		configs := 0
		for _, x := range s.taken() {
			if !strings.HasPrefix(x.topic, "hearthgate/") && !strings.HasPrefix(x.topic, "homeassistant/") || checkTopic(x.topic) != nil {
				t.Fatalf("published on %q", x.topic)
			}
			if strings.HasSuffix(x.topic, "_evil/config") {
				configs++
			}
		}
		if configs < 2 || configs > minutes*60/5+10 {
			t.Errorf("Home Assistant was told %d times in %d minutes", configs, minutes)
		}
	})
}
