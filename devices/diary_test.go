package devices_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/devices"
	"github.com/hearthgate/hearthgate/devices/devicetest"
	"github.com/hearthgate/hearthgate/protocol"
)

// Who asks what is the matter with a device hears of what it did and said.
func TestTheDiaryOfADeviceWithTroubles(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{})
		token := home.Add("kitchen")
		d := home.Dial(token)
		d.Open(1)
		d.Send(&protocol.Describe{Components: []protocol.Component{{ID: "socket", Kind: "switch"}}})
		d.Send(&protocol.Telemetry{Seq: 1, Records: []protocol.Record{{Name: "socket", Value: protocol.Text("warm")}}})
		if _, ok := d.Next().(protocol.Error); !ok {
			t.Error("it was taken")
		}
		time.Sleep(time.Second)
		d.Send(protocol.Log{Level: 2, Text: "sensor is wet"}, protocol.Log{Level: 2, Text: "sensor is wet"})
		time.Sleep(time.Second)
		d.SendBytes([]byte("\xff"))
		d.ExpectClose(protocol.CloseMalformed)
		time.Sleep(10 * time.Minute)
		var said []string
		for _, n := range home.Registry.Notes("kitchen") {
			said = append(said, fmt.Sprintf("%s %dx %s", n.About, n.Times, n.Text))
		}
		for i, want := range []string{"presence 1x online", "frame 1x refused with error 2", "log 2x WARN sensor is wet", "link 1x closed with 4000", "presence 1x lost"} {
			if i >= len(said) || !strings.HasPrefix(said[i], want) {
				t.Errorf("as number %d no %q in\n%s", i, want, strings.Join(said, "\n"))
			}
		}
	})
}
