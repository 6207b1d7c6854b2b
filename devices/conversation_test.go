package devices_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/devices"
	"github.com/hearthgate/hearthgate/devices/devicetest"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// story runs a test in simulated time. It ends only when every goroutine has.
func story(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func TestFirstWords(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{})
		d := home.Dial(home.Add("kitchen"))
		h := devicetest.Hello(1)
		described := &protocol.Describe{Model: "TH-1", Components: []protocol.Component{{ID: "temperature", Kind: "sensor", Unit: "Cel"}}}
		body := protocol.Append(nil, described)
		f, err := protocol.Decode(body, protocol.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		described = f.(*protocol.Describe)
		hash := described.Hash()
		h.Description = &hash

		d.Send(h).Expect(&protocol.Welcome{
			Device: "kitchen", Time: time.Now().UnixMilli(), Heartbeat: 30, Window: 16, MaxFrame: 65536, Describe: true,
		})
		d.Send(described, devicetest.Number(1, "temperature", 21.5)).Expect(protocol.Ack{Seq: 1})
		n, ok := home.Store.NewestOf("kitchen", "temperature")
		if !ok || n.Value.AsFloat() != 21.5 {
			t.Errorf("newest is %+v", n)
		}
		d.Send(protocol.Ping{Token: 42}).Expect(protocol.Pong{Token: 42, Time: time.Now().UnixMilli()})
		d.Send(protocol.Bye{Seconds: 600}).ExpectClose(protocol.CloseNormal)
		synctest.Wait()
		if p, _ := home.Store.PresenceOf("kitchen"); p.State != store.Sleeping || p.NextWake != time.Now().Add(10*time.Minute).UnixMilli() {
			t.Errorf("after bye: %+v", p)
		}
		if w := home.Dial(token(t, home, "kitchen")).OpenWith(h); w.Settled != 1 || w.Describe {
			t.Errorf("second welcome: %+v", w)
		}
	})
}

// token makes a new token of a device.
func token(t *testing.T, home *devicetest.Home, id string) string {
	t.Helper()
	tok, err := home.Registry.Rotate(id)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}
