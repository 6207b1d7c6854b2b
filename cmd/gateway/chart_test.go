package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// answered is a series as the API answers it.
func answered(t *testing.T, text string) *series {
	t.Helper()
	var s series
	must(t, json.Unmarshal([]byte(text), &s))
	return &s
}

func drawn(t *testing.T, text string, width int) string {
	t.Helper()
	var b bytes.Buffer
	answered(t, text).draw(&b, width, time.UTC)
	return b.String()
}

// seriesText writes n samples, one each step seconds from 2026-11-01 on.
func seriesText(unit string, n, step int, value func(i int) string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"device":"kitchen","name":"x","unit":%q,"level":"raw","samples":[`, unit)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"t":%d.0,"v":%s}`, 1793491200+i*step, value(i))
	}
	b.WriteString("]}")
	return b.String()
}

// What a person sees. HEARTHGATE_GOLDEN=1 writes the files anew, to be looked at.
func TestChartsOnATerminal(t *testing.T) {
	for name, text := range map[string]string{
		"sine":     seriesText("Cel", 300, 60, func(i int) string { return fmt.Sprintf("%.2f", 20+3*math.Sin(float64(i)/30)) }),
		"steps":    seriesText("W", 60, 60, func(i int) string { return fmt.Sprint(i / 15 % 2 * 2000) }),
		"constant": seriesText("", 10, 60, func(int) string { return "7" }),
		"one":      seriesText("/", 1, 60, func(int) string { return "0.453" }),
		"gap":      `{"device":"kitchen","name":"x","unit":"%RH","level":"raw","samples":[{"t":0,"v":40},{"t":60,"v":41},{"t":120,"v":42},{"t":1000,"v":40},{"t":1060,"v":44}]}`,
		"door":     seriesText("", 40, 600, func(i int) string { return fmt.Sprint(i%10 < 3) }),
		"words":    seriesText("", 3, 60, func(i int) string { return fmt.Sprintf("%q", []string{"auto", "eco", "away"}[i]) }),
		"rows":     `{"device":"kitchen","name":"x","unit":"Cel","level":"1h","rows":[{"t":0,"end":3600,"count":4,"min":19,"mean":20,"max":21,"last":20},{"t":3600,"end":7200,"count":6,"min":20,"mean":21.5,"max":24,"last":22},{"t":7200,"end":10800,"count":2,"min":18,"mean":18.5,"max":19,"last":18}]}`,
		"counter":  `{"device":"kitchen","name":"x","unit":"kWh","level":"1d","rows":[{"t":0,"end":86400,"count":4,"increase":3.5,"resets":0,"last":20},{"t":86400,"end":172800,"count":6,"increase":5.25,"resets":1,"last":22},{"t":172800,"end":259200,"count":2,"increase":1,"resets":0,"last":18}]}`,
		"on":       `{"device":"kitchen","name":"x","level":"1h","rows":[{"t":0,"end":3600,"count":4,"on":3600,"last":true},{"t":3600,"end":7200,"count":6,"on":900,"last":false},{"t":14400,"end":18000,"count":2,"on":0,"last":false}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			got := drawn(t, text, 48)
			for line := range strings.Lines(got) {
				if n := len([]rune(line)) - 1; n > 48 && name != "words" {
					t.Errorf("a line is %d wide: %q", n, line)
				}
			}
			file := filepath.Join("testdata", "chart", name+".txt")
			if os.Getenv("HEARTHGATE_GOLDEN") != "" {
				must(t, os.WriteFile(file, []byte(got), 0o644))
			}
			want, err := os.ReadFile(file)
			must(t, err)
			if got != string(want) {
				t.Errorf("it looks like this:\n%s\nand did like this:\n%s", got, want)
			}
		})
	}
}

func TestDrawingNeverFails(t *testing.T) {
	for _, width := range []int{1, 2, 10, 20, 200} {
		for _, n := range []int{1, 2, 3, 1000} {
			for _, value := range []string{"1e300", "-1e300", "0", "true", "5e-324"} {
				if got := drawn(t, seriesText("W", n, 1, func(i int) string {
					if i%3 == 1 && value != "true" {
						return "0"
					}
					return value
				}), width); got == "" {
					t.Errorf("%d values of %s, %d wide: nothing", n, value, width)
				}
			}
		}
	}
}

// Scripts get lines, CSV or the API's JSON; a person gets a chart.
func TestHistoryForScriptsAndPeople(t *testing.T) {
	data, _ := spoken(t, 600)
	span := []string{"--from", "2026-11-01T00:00:00Z", "--to", "2026-11-01T00:10:00Z", "--data", data}
	history := func(args ...string) string {
		t.Helper()
		return mustType(t, append(append([]string{"history", "kitchen", "temperature"}, args...), span...)...)
	}
	if out := history(); strings.Count(out, "\n") != 600 || !strings.HasSuffix(out, "  24.5\n") {
		t.Errorf("%.200s", out)
	}
	if out := history("--csv", "--limit", "2"); out != "time,value\n1793491200.0,20\n1793491201.0,20.5\n" {
		t.Error(out)
	}
	if out := history("--csv", "--width", "1"); out != "start,end,count,min,mean,max,last,increase,resets,on\n"+
		"1793491200.0,1793491500.0,300,20,22.25,24.5,24.5,,,\n1793491500.0,1793491800.0,300,20,22.25,24.5,24.5,,,\n" {
		t.Error(out)
	}
	if out := history("--width", "1"); !strings.Contains(out, "MEAN") || !strings.Contains(out, "22.25") || strings.Count(out, "\n") != 3 {
		t.Error(out)
	}
	if out := history("--json", "--width", "1"); !strings.Contains(out, `"level":"5m","rows":[{"t":1793491200.0,`) {
		t.Error(out)
	}
	if _, _, err := typed(t, "", "history", "kitchen", "temperature", "--csv", "--json", "--data", data); err == nil {
		t.Error("CSV and JSON at once")
	}
	for args, columns := range map[string]int{"": 60, "--width 500": 60, "--width 100": 50, "--width 1": leastColumns} {
		person, program := terminal(t)
		root := rootCommand()
		root.SetArgs(append(append([]string{"history", "kitchen", "temperature"}, strings.Fields(args)...), span...))
		root.SetOut(program)
		must(t, root.ExecuteContext(t.Context()))
		must(t, program.Close())
		text, _ := io.ReadAll(person) // a terminal whose program is gone ends with an error
		lines := strings.Split(strings.ReplaceAll(string(text), "\r", ""), "\n")
		if lines[0] != "kitchen temperature" || !strings.Contains(lines[1], "│") || len([]rune(lines[1])) != columns-1 {
			t.Errorf("%s: not %d columns wide: %q", args, columns, text)
		}
	}
}

// A day is the day of who types it, in each form that a person may try first.
func TestHistoryFromADay(t *testing.T) {
	data, _ := spoken(t, 600) // from midnight on, UTC
	zone := here
	t.Cleanup(func() { here = zone })
	here = time.FixedZone("there", 2*60*60)
	for span, lines := range map[[2]string]int{
		{"2026-11-01", "2026-11-02"}:                               600,
		{"2026-11-01 02:00", "2026-11-01 02:05"}:                   300,
		{"2026-11-01T00:09:50Z", "2026-11-01 03:00:00"}:            10,
		{"2026-10-31", "2026-11-01"}:                               0,
		{"1793491200", "2026-11-01T02:00:30"}:                      30,
		{"2026-11-01T02:00:00+02:00", "2026-11-01T01:00:01+01:00"}: 1,
	} {
		args := []string{"kitchen", "--from", span[0], "--to", span[1], "--data", data}
		if out := mustType(t, append([]string{"history", "--csv"}, append(args, "temperature")...)...); strings.Count(out, "\n") != 1+lines && (lines > 0 || out != "") {
			t.Errorf("%v: %.200s", span, out)
		}
		if out := mustType(t, append([]string{"export"}, args...)...); strings.Count(out, "\n") != 1+lines {
			t.Errorf("export of %v: %.200s", span, out)
		}
	}
	_, _, err := typed(t, "", "export", "--from", "yesterday", "--data", data)
	if err == nil || !strings.Contains(err.Error(), `--from: want a day such as 2026-11-21`) {
		t.Error(err)
	}
}
