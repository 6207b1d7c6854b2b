package devices_test

import (
	"testing"
	"testing/synctest"

	"github.com/hearthgate/hearthgate/devices"
	"github.com/hearthgate/hearthgate/devices/devicetest"
	"github.com/hearthgate/hearthgate/protocol"
)

// A device that had to drop data left numbers out. Its user sees how often, and
// how often it started anew; what it sends again is neither.
func TestDroppedDataAndRestartsAreCounted(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{})
		counts := func(restarts, gaps uint64) {
			t.Helper()
			synctest.Wait()
			if d, _ := home.Registry.Get("kitchen"); d.Restarts != restarts || d.Gaps != gaps {
				t.Errorf("%d restarts and %d gaps, want %d and %d", d.Restarts, d.Gaps, restarts, gaps)
			}
		}
		d := home.Dial(home.Add("kitchen"))
		d.OpenWith(devicetest.Hello(1))
		d.Send(devicetest.Number(1, "t", 1), devicetest.Number(2, "t", 2)).Expect(protocol.Ack{Seq: 2})
		counts(0, 0)
		d.Send(devicetest.Number(5, "t", 5)).Expect(protocol.Ack{Seq: 5})
		counts(0, 1)
		d.Send(devicetest.Number(5, "t", 5)).Expect(protocol.Ack{Seq: 5})
		d.Send(devicetest.Number(6, "t", 6)).Expect(protocol.Ack{Seq: 6})
		counts(0, 1)

		d = home.Dial(token(t, home, "kitchen")) // the same boot: its link was bad
		d.OpenWith(devicetest.Hello(1))
		d.Send(devicetest.Number(6, "t", 6)).Expect(protocol.Ack{Seq: 6})
		d.Send(devicetest.Number(9, "t", 9)).Expect(protocol.Ack{Seq: 9})
		counts(0, 2)

		again := devicetest.Hello(2)
		again.Boots = []protocol.Boot{devicetest.Hello(1).Boot}
		d = home.Dial(token(t, home, "kitchen")) // a restart, with a backlog
		d.OpenWith(again)
		old := devicetest.Number(10, "t", 10)
		old.Boot = &again.Boots[0]
		d.Send(devicetest.Number(1, "t", 11), old).Expect(protocol.Ack{Seq: 1}, protocol.Ack{Seq: 10, Boot: old.Boot})
		counts(1, 2)
		if n := home.Hub.Counters.LeftOut.Load(); n != 4 {
			t.Errorf("%d numbers left out, want 3, 4, 7 and 8", n)
		}
	})
}
