package segment_test

import (
	"testing"

	"github.com/hearthgate/hearthgate/store/segment"
	"github.com/hearthgate/hearthgate/store/segment/segmenttest"
)

// Whatever bytes are in a segment: it can be opened and read, the records that come
// back were written, in order, and the log goes on behind them.
func FuzzOpen(f *testing.F) {
	const after = 3
	f.Add(uint16(4096), []byte("HGR\x01"))
	f.Add(uint16(0), make([]byte, 56))
	f.Add(uint16(9000), []byte(nil)) // truncated
	d := segmenttest.New(nil)
	l, err := segment.Open(options(d, &history{}), 0, func(uint64, []byte) error { return nil })
	if err != nil {
		f.Fatal(err)
	}
	for n := 1; n <= 30; n++ {
		if _, err := l.Append([]byte(payload(n))); err != nil {
			f.Fatal(err)
		}
	}
	whole := d.Content()
	f.Fuzz(func(t *testing.T, at uint16, change []byte) {
		image := segmenttest.Image{}
		for name, b := range whole {
			image[name] = append([]byte(nil), b...)
		}
		b := image["log-0001.seg"]
		if from := int(at) % len(b); len(change) > 0 {
			copy(b[from:], change)
		} else {
			image["log-0001.seg"] = b[:from]
		}
		l, h := open(t, segmenttest.New(image), after)
		last := uint64(0)
		err := l.Scan(extents(l)[0].First, func(number uint64, b []byte) bool {
			if number <= last || number > 30 || string(b) != payload(int(number)) {
				t.Errorf("record %d behind %d is %.40q", number, last, b)
			}
			last = number
			return true
		})
		if err != nil || len(h.payloads) < 10 {
			t.Errorf("%d records, %v, damage %v", len(h.payloads), err, h.damaged)
		}
		if n, err := l.Append([]byte("on")); err != nil || n != 31 {
			t.Errorf("record %d, %v", n, err)
		}
	})
}
