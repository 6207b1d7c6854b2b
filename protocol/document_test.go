package protocol

import (
	"os"
	"regexp"
	"strings"
	"testing"

	fxcbor "github.com/fxamacker/cbor/v2"
)

// hexLine is a line of nothing but hex, as PROTOCOL.md shows messages.
var hexLine = regexp.MustCompile(`^[0-9a-f]{4}[0-9a-f ]{4,}$`)

// examples are the messages of PROTOCOL.md: runs of hex lines in code blocks. A
// line of one that is taken apart has words behind it and is none.
func examples(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	code, open := false, false
	for line := range strings.Lines(string(page)) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "```") {
			code = !code
		}
		isHex := code && hexLine.MatchString(line)
		switch {
		case isHex && open:
			all[len(all)-1] += line
		case isHex:
			all = append(all, line)
		}
		open = isHex
	}
	return all
}

func TestTheExamplesOfTheDocumentAreFrames(t *testing.T) {
	seen := map[Type]int{}
	for _, example := range examples(t) {
		f, err := Decode(unhex(t, strings.ReplaceAll(example, " ", "")), Limits{})
		if err != nil {
			t.Errorf("%s: %v", example, err)
			continue
		}
		seen[f.Type()]++
	}
	for typ := TypePing; typ <= TypeReveal; typ++ {
		if seen[typ] == 0 && typ != TypeLog && typ != TypeGrant {
			t.Errorf("no example of a %v", typ)
		}
	}
}

func TestTheGrammarHasEveryFrameAndKey(t *testing.T) {
	page, err := os.ReadFile("hearthgate.cddl")
	if err != nil {
		t.Fatal(err)
	}
	for typ := TypePing; typ <= TypeReveal; typ++ {
		rule := regexp.MustCompile(`(?s)\n` + typ.String() + ` += \[type: ` + number(uint64(typ)) + `, body: \{(.*?)\}\]\n`).FindSubmatch(page)
		if rule == nil {
			t.Errorf("no rule for %v", typ)
			continue
		}
		for _, v := range vectors(t) {
			f, err := Decode(unhex(t, v.Hex), Limits{})
			if err != nil || f.Type() != typ {
				continue
			}
			var message struct {
				_    struct{} `cbor:",toarray"`
				Type uint64
				Body map[uint64]fxcbor.RawMessage
			}
			if err := fxcbor.Unmarshal(Append(nil, clearRaw(f)), &message); err != nil {
				t.Fatal(err)
			}
			for key := range message.Body {
				if !regexp.MustCompile(`\b` + number(key) + `: `).Match(rule[1]) {
					t.Errorf("%v.%d is not in the grammar", typ, key)
				}
			}
		}
	}
}

// The table of kinds in the document is the one in the code.
func TestTheDocumentNamesEveryKindAndAttribute(t *testing.T) {
	page, err := os.ReadFile("PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "| kind | value, or attributes")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := map[string]string{}
	for line := range strings.Lines(table) {
		cells := strings.SplitN(line, "|", 4)
		if len(cells) < 4 {
			continue
		}
		for _, kind := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(cells[1], -1) {
			rows[kind[1]] = line
		}
	}
	if len(rows) != len(kinds) {
		t.Errorf("%d kinds in the document, %d in the code", len(rows), len(kinds))
	}
	for kind, traits := range kinds {
		for _, trait := range traits {
			what := "`" + trait.name + "`"
			if trait.name == "" {
				what = "`" + kind + "`"
			}
			if trait.settable {
				what += "*"
			}
			if !strings.Contains(rows[kind], what) {
				t.Errorf("%s: %s is not in the document", kind, what)
			}
			for _, o := range trait.options {
				if !strings.Contains(rows[kind], o) {
					t.Errorf("%s %s: option %s is not in the document", kind, trait.name, o)
				}
			}
		}
	}
}
