package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// wellTravelled is the data directory of a home that said one of everything, with
// devices that come late and repeat their times, for two days.
func wellTravelled(t *testing.T) (data string) {
	t.Helper()
	data = newHome(t)
	for _, id := range []string{"kitchen", "hall"} {
		mustType(t, "device", "add", id, "--data", data)
	}
	s, err := store.Open(store.Options{Dir: data})
	must(t, err)
	values := []protocol.Value{
		protocol.Float(21.5), protocol.Float(math.Copysign(0, -1)), protocol.Float(1e300), protocol.Float(5e-324), protocol.Float(1e20),
		protocol.MakeValue(protocol.Float32, uint64(math.Float32bits(0.1)), ""), protocol.MakeValue(protocol.Float16, 0x4d60, ""),
		protocol.Int(-7), protocol.MakeValue(protocol.Uint, math.MaxUint64, ""), protocol.MakeValue(protocol.Neg, math.MaxUint64, ""),
		protocol.Bool(true), protocol.Text("grün, \"leise\"\n und=x"), protocol.Text("007"), protocol.Text(""),
	}
	for i := range 2500 {
		at := time.Date(2026, 10, 30, 20, 0, 0, i*1_000_003, time.UTC).Add(time.Duration(i) * 30 * time.Second)
		e := &store.Entry{Kind: store.Telemetry, Device: []string{"kitchen", "hall"}[i%2], Boot: protocol.Boot{byte(i / 500), 1}, Seq: uint64(i + 1), Received: at.UnixMilli() + 3}
		if i%50 == 7 {
			e.Kind, e.Seq, e.Command = store.Result, 0, uint64(i+1)<<30
		}
		for j := range 1 + i%3 {
			e.Records = append(e.Records, protocol.Record{
				Name: fmt.Sprint("n", j), Value: values[(i+j)%len(values)], Absolute: true, Time: at.Add(-time.Duration(i%7) * time.Hour).UnixNano(),
			})
		}
		_, err := s.Append(e, store.Measured, nil)
		must(t, err)
	}
	must(t, s.Close())
	return data
}

// A home moves: what one gateway exported another takes in, and exports alike.
func TestExportImportExport(t *testing.T) {
	old := wellTravelled(t)
	for _, format := range []string{"jsonl", "csv"} {
		t.Run(format, func(t *testing.T) {
			want := mustType(t, "export", "--format", format, "--data", old)
			file := filepath.Join(t.TempDir(), "home")
			must(t, os.WriteFile(file, []byte(want), 0o600))
			data := newHome(t)
			if out := mustType(t, "import", file, "--create", "--data", data); !strings.Contains(out, "are in.") || !strings.Contains(out, "2 devices are new: hall, kitchen. hearthgate device rotate ID") {
				t.Error(out)
			}
			if got := mustType(t, "export", "--format", format, "--data", data); got != want {
				t.Error("what is exported is another:", firstDifference(got, want))
			}
			var sum importSum
			must(t, json.Unmarshal([]byte(mustType(t, "import", file, "--json", "--data", data)), &sum))
			if sum.New != 0 || sum.Repeated == 0 || sum.Bad != 0 || len(sum.Created) != 0 {
				t.Errorf("made again: %+v", sum)
			}
			if got := mustType(t, "export", "--format", format, "--data", data); got != want {
				t.Error("after the same import it is another:", firstDifference(got, want))
			}
			if out := mustType(t, "check", "--data", data); !strings.Contains(out, "sound") {
				t.Error(out)
			}
		})
	}
}

func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d is\n%s\nwas\n%s", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines, %d before", len(a), len(b))
}

// A running gateway takes it in while devices talk, and nobody is told that
// anything happened.
func TestImportIntoARunningGateway(t *testing.T) {
	old := wellTravelled(t)
	exported := mustType(t, "export", "--format", "jsonl", "--data", old)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, err := z.Write([]byte(exported))
	must(t, err)
	must(t, z.Close())
	file := filepath.Join(t.TempDir(), "home.jsonl.gz")
	must(t, os.WriteFile(file, zipped.Bytes(), 0o600))

	s := newServed(t).start()
	token := s.fleet("new", 1)["new-001"]
	o := observe(t, s.mqtt, "hearthgate/#")
	if _, err := s.hearthgate("import", file); err == nil || !strings.Contains(err.Error(), `line 1: device "hall" is not known`) || !strings.Contains(err.Error(), "--create") {
		t.Error(err)
	}
	if out := s.mustRun("import", file, "--create"); !strings.Contains(out, "are in.") {
		t.Error(out)
	}
	if out := s.mustRun("import", file, "--quiet"); out != "" {
		t.Error(out)
	}
	if got := s.mustRun("export", "--format", "jsonl"); got != exported {
		t.Error("what is exported is another:", firstDifference(got, exported))
	}
	d := s.lampDevice("new-001", token, "ws://"+s.http+"/device")
	d.Report(protocol.Record{Name: "temperature", Value: protocol.Float(21.5)})
	o.wait("hearthgate/device/new-001/temperature/state", is("21.5")) // comes after what an import would say
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, m := range o.all {
		if strings.HasPrefix(m.topic, "hearthgate/stream/kitchen") || strings.Contains(m.topic, "kitchen/n") {
			t.Errorf("%s was published: %s", m.topic, m.text)
		}
	}
}

// What is wrong with a line is said with its number; the others can come in.
func TestBadLinesOfAnImport(t *testing.T) {
	data := newHome(t)
	mustType(t, "device", "add", "kitchen", "--data", data)
	good := `{"device":"kitchen","n":"a","v":1,"t":1795219200}`
	for bad, why := range map[string]string{
		`{"device":"kitchen"`:                                             "no JSON object",
		`{"device":"kitchen","n":"a","v":1}`:                              "t is missing",
		`{"device":"kitchen","n":"a","v":1,"t":"noon"}`:                   "want seconds since 1970",
		`{"device":"kitchen","n":"a","v":1,"t":1795219200000}`:            "want seconds since 1970",
		`{"device":"kitchen","n":"a","v":1,"t":-5}`:                       "want seconds since 1970",
		`{"device":"kitchen","n":"a","t":1795219200}`:                     "want one value",
		`{"device":"kitchen","n":"a","v":1,"vb":true,"t":1795219200}`:     "want one value",
		`{"device":"kitchen","n":"a","v":"x","t":1795219200}`:             "v has to be a number",
		`{"device":"kitchen","n":"a","v":1e999,"t":1795219200}`:           "v has to be a number",
		`{"device":"kitchen","n":"A b","v":1,"t":1795219200}`:             `"A b" cannot be the name`,
		`{"device":"../etc","n":"a","v":1,"t":1795219200}`:                `"../etc" cannot be the id`,
		`{"device":"attic","n":"a","v":1,"t":1795219200}`:                 `device "attic" is not known`,
		`{"device":"kitchen","n":"a","v":1,"t":1795219200,"boot":"12"}`:   "16 hexadecimal digits",
		`{"device":"kitchen","n":"a","v":1,"t":1795219200,"seq":1e3}`:     `"seq" cannot be a number`,
		`{"device":"kitchen","n":"a","vs":"` + strings.Repeat("x", 2<<20): "longer than a megabyte",
		`{"device":"kitchen","n":"a","v":1,"t":5,"seq":9007199254740992}`: "above 2^53",
	} {
		text := good + "\n\n" + bad + "\n" + strings.Replace(good, `"a"`, `"b"`, 1) + "\n"
		_, _, err := typed(t, text, "import", "--data", data)
		if err == nil || !strings.Contains(err.Error(), "line 3: ") || !strings.Contains(err.Error(), why) {
			t.Errorf("%.80s: %v, want %q", bad, err, why)
		}
		out, errs, err := typed(t, text, "import", "--skip-bad", "--json", "--data", data)
		var sum importSum
		must(t, err)
		must(t, json.Unmarshal([]byte(out), &sum))
		if sum.New+sum.Repeated != 2 || sum.Bad != 1 || !strings.Contains(errs, "line 3: ") {
			t.Errorf("%.80s: %s%s", bad, out, errs)
		}
	}
	for text, why := range map[string]string{
		"device,name,value\nkitchen,a,1\n":                                "no column time",
		"device,name,time,value\nkitchen,a,1795219200\n":                  "line 2: it has 3 columns",
		"device,name,time,value\nkitchen,a,1795219200,1\nkitchen,a,x,1\n": "line 3: time: want seconds",
		"device,name,time,value\nkitchen,a,1795219200,\"1\nkitchen":       "line 2: ",
		"hello\n": "line 1: there is no column device",
	} {
		if _, _, err := typed(t, text, "import", "--data", data); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want %q", text, err, why)
		}
	}
	if out, _, err := typed(t, "", "import", "--data", data); err != nil || !strings.Contains(out, "0 values are in.") {
		t.Errorf("nothing at all: %s %v", out, err)
	}
	if got := mustType(t, "export", "kitchen", "--format", "jsonl", "--data", data); strings.Count(got, "\n") != 2 { // a and b; the CSV says a again
		t.Error(got)
	}
}

// An import is read and taken in piece by piece, whatever its size.
func TestImportInManyBatches(t *testing.T) {
	data := newHome(t)
	var b strings.Builder
	const lines = 3*importBatch + 17
	for i := range lines {
		fmt.Fprintf(&b, `{"device":"kitchen","n":"n%d","v":%d,"t":%d,"seq":%d,"boot":"0102030405060708","received":%d}`+"\n",
			i%6, i, 1795000000+i/6*300, i/6+1, (1795000000+i/6*300)*1000)
	}
	var sum importSum
	for i := range 2 {
		out, _, err := typed(t, b.String(), "import", "--create", "--json", "--data", data)
		must(t, err)
		sum = importSum{}
		must(t, json.Unmarshal([]byte(out), &sum))
		if want := []int{lines, 0}[i]; sum.New != want || sum.New+sum.Repeated != lines {
			t.Errorf("time %d: %+v", i+1, sum)
		}
	}
}

func FuzzImportLine(f *testing.F) {
	f.Add(`{"device":"kitchen","boot":"0102030405060708","seq":3,"received":1795219200003,"n":"desk/on","vb":true,"t":1795219200.001}`)
	f.Add(`{"device":"kitchen","command":3,"n":"x","v":-18446744073709551616,"t":0.000000001}`)
	f.Add("device,name,time,value\nkitchen,x,1.5,007\n")
	f.Fuzz(func(t *testing.T, text string) {
		next, err := readLines(strings.NewReader(text))
		for i := 0; err == nil && i < 100; i++ {
			var l imported
			if l, err = next(); err != nil {
				continue
			}
			again, err := parseJSONLine(l.appendJSON(nil))
			if err != nil || again.Record.Value.String() != l.Record.Value.String() || again.Record.Time != l.Record.Time || !again.sameFrame(&l) {
				t.Fatalf("%+v is written as %s and read as %+v: %v", l, l.appendJSON(nil), again, err)
			}
		}
	})
}

// Long texts fill a batch sooner, however they are written.
func TestImportOfLongTexts(t *testing.T) {
	s := newServed(t).start()
	var b strings.Builder
	text := strings.Repeat(`\u0001`, 60_000)
	for i := range 12 {
		fmt.Fprintf(&b, `{"device":"kitchen","n":"note","vs":"%s","t":%d}`+"\n", text, 1795219200+i)
	}
	file := filepath.Join(t.TempDir(), "long.jsonl")
	must(t, os.WriteFile(file, []byte(b.String()), 0o600))
	if out := s.mustRun("import", file, "--create"); !strings.Contains(out, "12 values are in.") {
		t.Error(out)
	}
}
