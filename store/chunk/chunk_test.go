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
			frames := load(t, home.file)
			for _, span := range []time.Duration{24 * time.Hour, time.Hour} {
				size, samples := 0, 0
				for _, part := range split(frames, span) {
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
					size += len(b)
					for _, f := range part {
						samples += len(f.Records)
					}
				}
				each := float64(size) / float64(samples)
				t.Logf("%v: %d samples, %d bytes, %.3f a sample", span, samples, size, each)
				if span == 24*time.Hour && each > home.limit {
					t.Errorf("%.3f bytes a sample, want at most %.2f", each, home.limit)
				}
			}
		})
	}
}
