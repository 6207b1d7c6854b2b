package chunk_test

import (
	"encoding/hex"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store/chunk"
)

// examples are what the chunks in FORMAT.md hold.
var examples = map[string][]chunk.Frame{
	"one reading": {spoken(1, 0, record("temperature", 0, protocol.Float(21.5)))},
	"a steady climb": {
		spoken(1, 0, record("energy", 0, protocol.Int(1000))),
		spoken(2, 10, record("energy", 10, protocol.Int(1002))),
		spoken(3, 20, record("energy", 20, protocol.Int(1010))),
		spoken(4, 30, record("energy", 30, protocol.Int(1010))),
	},
	"a late value, a result, another boot": {
		spoken(7, 0, unit("Cel", record("air", 0, protocol.Float(-0.5))), record("lamp/on", 0, protocol.Bool(true))),
		{Received: noon + 2000, Boot: protocol.Boot{1}, Command: 77, Records: []protocol.Record{record("lamp/on", 2, protocol.Bool(false))}},
		spoken(8, 10, late(unit("Cel", record("air", -3600, protocol.Int(3)))), record("mode", 10, protocol.Text("heat"))),
		{Received: noon + 20000, Boot: protocol.Boot{2}, Seq: 1},
	},
	"a heartbeat":        heartbeat(),
	"means of three":     sixteen(func(i int) protocol.Value { return protocol.Float(float64(60+i*i%7) / 3) }),
	"a trembling sensor": sixteen(func(i int) protocol.Value { return protocol.Float(21 + float64(i&1*6+i*i%3*37)/100) }),
}

const noon = int64(1795219200000)

func record(name string, seconds int64, v protocol.Value) protocol.Record {
	return protocol.Record{Name: name, Value: v, Time: (noon + seconds*1000) * 1e6, Absolute: true}
}

func unit(u string, r protocol.Record) protocol.Record { r.Unit = u; return r }

func late(r protocol.Record) protocol.Record { r.Late = true; return r }

func spoken(seq uint64, seconds int64, records ...protocol.Record) chunk.Frame {
	return chunk.Frame{Received: noon + seconds*1000, Boot: protocol.Boot{1}, Seq: seq, Records: records}
}

func sixteen(v func(i int) protocol.Value) (frames []chunk.Frame) {
	for i := range 16 {
		seconds := int64(i * 60)
		frames = append(frames, spoken(uint64(i+1), seconds, record("v", seconds, v(i))))
	}
	return frames
}

// heartbeat is each 10 s, some ms late.
func heartbeat() (frames []chunk.Frame) {
	for i := range 48 {
		f := spoken(uint64(i+1), 0, record("v", 0, protocol.Int(1)))
		late := int64(i)*10_000 + int64(uint32(i*i*i)*2654435761>>29)
		f.Received += late
		f.Records[0].Time += late * 1e6
		frames = append(frames, f)
	}
	return frames
}

var example = regexp.MustCompile("(?s)\\*\\*([^*]+)\\*\\*[^`]*```hex\n(.*?)```")

// The examples of the document are chunks, of what it says.
func TestTheDocumentsExamples(t *testing.T) {
	text, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]string{}
	for _, m := range example.FindAllStringSubmatch(string(text), -1) {
		shown[m[1]] = bare(m[2])
	}
	for name, frames := range examples {
		t.Run(name, func(t *testing.T) {
			b, err := chunk.Encode(frames)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(shown[name], hex.EncodeToString(b)); d != "" {
				t.Errorf("encoded (-document +got):\n%s", d)
			}
			bytes, err := hex.DecodeString(shown[name])
			if err != nil {
				t.Fatal(err)
			}
			got, err := chunk.Decode(bytes)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(frames, got, exact); d != "" {
				t.Errorf("decoded (-want +got):\n%s", d)
			}
		})
	}
	if len(shown) != len(examples) {
		t.Errorf("the document shows %d examples, the test knows %d", len(shown), len(examples))
	}
}

// bare leaves out spaces and what stands behind two of them: what a line means.
func bare(lines string) string {
	var all strings.Builder
	for line := range strings.Lines(lines) {
		line, _, _ = strings.Cut(line, "  ")
		all.WriteString(strings.ReplaceAll(strings.TrimSpace(line), " ", ""))
	}
	return all.String()
}
