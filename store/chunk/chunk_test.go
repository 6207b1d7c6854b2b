package chunk_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/chunk"
)

var exact = cmp.Comparer(func(a, b protocol.Value) bool { return a == b })

func TestRealDataFitsItsBudget(t *testing.T) {
	for _, home := range homes {
		t.Run(home.name, func(t *testing.T) {
			size, samples := 0, 0
			for _, part := range split(load(t, home.file), 24*time.Hour) {
				b, err := chunk.Encode(part)
				if err != nil {
					t.Fatal(err)
				}
				got, err := chunk.Decode(b)
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(part, got) {
					t.Fatalf("(-want +got):\n%s", cmp.Diff(part, got, exact))
				}
				size, samples = size+len(b), samples+count(part)
			}
			each := float64(size) / float64(samples)
			t.Logf("%d samples, %d bytes, %.3f a sample", samples, size, each)
			if each > home.limit {
				t.Errorf("%.3f bytes a sample, want at most %.2f", each, home.limit)
			}
		})
	}
}

// count is how many records the frames have.
func count(frames []chunk.Frame) (n int) {
	for _, f := range frames {
		n += len(f.Records)
	}
	return n
}
