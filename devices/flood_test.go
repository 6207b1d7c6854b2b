package devices_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/devices"
	"github.com/hearthgate/hearthgate/devices/devicetest"
	"github.com/hearthgate/hearthgate/protocol"
)

// Each new description is written to disk and announced to Home Assistant. A
// device that describes itself anew all the time is slowed, with new links, too.
func TestADeviceThatDescribesItselfAllTheTime(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{})
		key := home.Add("fickle")
		home.Dial(home.Add("other")).Open(1)
		begin := time.Now()
		for link := range 3 {
			d := home.Dial(key)
			d.Open(1)
			for i := range 10 {
				d.Send(&protocol.Describe{Model: fmt.Sprintf("model %d of link %d", i, link)})
			}
			d.Send(protocol.Ping{Token: 7})
			for f := d.Next(); f.Type() != (protocol.Pong{}).Type(); f = d.Next() {
			}
		}
		if took := time.Since(begin); took < 130*time.Second {
			t.Errorf("30 descriptions in %v, want 16 at once and then one in ten seconds", took)
		}
		if got := home.Registry.Description("fickle"); got.Model != "model 9 of link 2" {
			t.Errorf("the last description is not kept, but %q", got.Model)
		}
	})
}

// A device's rate counts its frames. With the largest ones alone it could wear
// out an SD card in weeks, so their bytes count too, in the long run.
func TestADeviceThatSendsLargeFramesAllTheTime(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{DeviceRate: 50})
		d := home.Dial(home.Add("large"))
		d.Open(1)
		// Of a type that nobody takes, so that there is little else to do.
		large := append([]byte{0x82, 0x11, 0xa1, 0x01, 0x59, 0xea, 0x60}, make([]byte, 60000)...)
		const frames = 800 // 48 MB
		begin := time.Now()
		go func() {
			for range frames {
				d.SendBytes(large)
			}
		}()
		for range frames {
			d.Next()
		}
		// 32 MiB at 50 frames a second, the rest at 200 KiB a second.
		if took := time.Since(begin); took < 65*time.Second || took > 80*time.Second {
			t.Errorf("%d frames of 60 kB took %v", frames, took)
		}
	})
}
