package main

import (
	"strings"
	"testing"
	"time"
)

func TestTokensInEveryForm(t *testing.T) {
	a, b := "hg1.a."+strings.Repeat("A", 43), "hg1.b."+strings.Repeat("B", 43)
	for name, text := range map[string]string{
		"array of objects":   `[{"id":"a","token":"` + a + `"},{"id":"b","token":"` + b + `"}]`,
		"array of texts":     `["` + a + `","` + b + `"]`,
		"wrapped":            `{"devices":[{"token":"` + a + `"},{"token":"` + b + `"}]}`,
		"JSON lines":         `{"id":"a","token":"` + a + "\"}\n" + `{"id":"b","token":"` + b + `"}`,
		"lines":              a + "\r\n\n# comment\n" + b + "\n",
		"lines with the ids": "a " + a + "\nb\t" + b,
	} {
		got, err := parseTokens(strings.NewReader(text))
		if err != nil || len(got) != 2 || got[0] != (credential{"a", a}) || got[1] != (credential{"b", b}) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for text, says := range map[string]string{
		"":                                  "no token",
		"[]":                                "no token",
		`[{"id":"a"}]`:                      "no token",
		a + "\n" + a:                        "twice",
		a + "\nhg1.b.short":                 "token 2",
		`[{"token":"` + a + `"`:             "JSON",
		"hg1.UPPER." + a[6:]:                "token 1",
		strings.Replace(a, "hg1", "hg2", 1): "token 1",
	} {
		if _, err := parseTokens(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q in it", text, err, says)
		}
	}
}

func TestTablesThatCannotBeReplayed(t *testing.T) {
	for text, says := range map[string]string{
		"":                           "empty",
		"time,a\n1,2\n":              "line 1",
		"unix_s\n1\n":                "line 1",
		"unix_s,Kitchen/Temp\n1,2\n": "Kitchen/Temp",
		"unix_s,a,a\n1,2,3\n":        `column "a"`,
		"unix_s,a\n":                 "no rows",
		"unix_s,a\n1,2\n1.5,2\n":     "line 3",
		"unix_s,a\n5,2\n4,2\n":       "line 3",
		"unix_s,a\n5,2,3\n":          "wrong number of fields",
	} {
		if _, err := parseTable(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q in it", text, err, says)
		}
	}
}

func TestCellsKeepTheirValue(t *testing.T) {
	table, err := parseTable(strings.NewReader("unix_s,a,b,c\n100,1,21.50,on\n160,-3,,nan\n"))
	if err != nil {
		t.Fatal(err)
	}
	first, second := table.records(table.rows[0], 1000), table.records(table.rows[1], 1000)
	if len(first) != 3 || len(second) != 2 {
		t.Fatalf("records %v, %v: an empty cell is no record", first, second)
	}
	for i, want := range []string{"1", "21.5", "on"} {
		if got := first[i].Value.String(); got != want {
			t.Errorf("%s is %s, want %s", first[i].Name, got, want)
		}
	}
	if second[0].Value.String() != "-3" || second[1].Value.String() != "nan" || !second[1].Value.IsText() {
		t.Errorf("second row %v", second)
	}
	if first[0].Time != 1100e9 || !first[0].Absolute {
		t.Errorf("time %d, want 1100 s", first[0].Time)
	}
}

func TestPercentilesAreCloseToTheTruth(t *testing.T) {
	var h histogram
	for us := range 10_000 {
		h.add(1000 * (1 + time.Duration(us)))
	}
	for part, want := range map[float64]float64{0.5: 5, 0.9: 9, 0.99: 9.9, 1: 10} {
		if got := h.at(part); got < want*0.99 || got > want*1.07 {
			t.Errorf("p%g: %g ms, want about %g", part*100, got, want)
		}
	}
}
