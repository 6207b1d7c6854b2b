package command_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	. "github.com/hearthgate/hearthgate/command"
	"github.com/hearthgate/hearthgate/protocol"
)

func TestTheJSONOfACommand(t *testing.T) {
	for _, c := range []struct {
		name, json string
		want       Request
		err        string // part of it
	}{
		{"everything", `{"id":"a","set":{"desk/on":true,"desk/brightness":40},"ttl":"30s"}`,
			Request{ID: "a", Set: []Setting{on, dim}, TTL: 30 * time.Second}, ""},
		{"the least", `{"set":{"n":-1.5}}`, Request{Set: set("n", protocol.Float(-1.5))}, ""},
		{"a day to wait", `{"set":{"n":1},"ttl":"1d"}`, Request{Set: set("n", protocol.Int(1)), TTL: 24 * time.Hour}, ""},
		{"nulls are as if absent", `{"id":null,"ttl":null,"set":{"n":1}}`, Request{Set: set("n", protocol.Int(1))}, ""},
		{"the order is kept", `{"set":{"z":1,"a":"x","z":2}}`,
			Request{Set: []Setting{setting("z", protocol.Int(1)), setting("a", protocol.Text("x")), setting("z", protocol.Int(2))}}, ""},
		{"all digits are kept", `{"set":{"n":18446744073709551615}}`,
			Request{Set: set("n", protocol.MakeValue(protocol.Uint, 1<<64-1, ""))}, ""},
		{"other keys are ignored", `{"set":{"n":1},"from":{"x":[1]}}`, Request{Set: set("n", protocol.Int(1))}, ""},

		{"nothing", ``, Request{}, "not a command"},
		{"not an object", `[1]`, Request{}, "want an object such as {\"set\":{\"desk/on\":true}}, found: array"},
		{"half of it", `{"set":{"n":1`, Request{}, "not a command"},
		{"two of them", `{"set":{"n":1}}{}`, Request{}, "not a command"},
		{"a number as the id", `{"id":5,"set":{"n":1}}`, Request{}, `id: want a text in quotes, such as "a1", not a number`},
		{"not UTF-8", "{\"set\":{\"n\":\"\xff\"}}", Request{}, "UTF-8"},
		{"no set, and whose it is", `{"id":"a"}`, Request{ID: "a"}, "set"},
		{"set of another type", `{"id":"a","set":[1]}`, Request{ID: "a"}, "set"},
		{"an object as a value", `{"id":"a","set":{"n":{"x":1}}}`, Request{ID: "a"}, `"n"`},
		{"null as a value", `{"id":"a","set":{"n":null}}`, Request{ID: "a"}, `"n"`},
		{"more names than any device has", `{"id":"a","set":{` + strings.Repeat(`"":1,`, MaxSettings) + `"":1}}`, Request{ID: "a"}, "more than 1024 names"},
		{"a number beyond all", `{"id":"a","set":{"n":1e999}}`, Request{ID: "a"}, "range"},
		{"a ttl without a unit", `{"set":{"n":1},"ttl":30}`, Request{Set: set("n", protocol.Int(1))}, "30s"},
		{"no time at all", `{"set":{"n":1},"ttl":"0s"}`, Request{Set: set("n", protocol.Int(1))}, "above 0"},
		{"a time that is over", `{"set":{"n":1},"ttl":"-5s"}`, Request{Set: set("n", protocol.Int(1))}, "above 0"},
		{"no duration", `{"set":{"n":1},"ttl":"soon"}`, Request{Set: set("n", protocol.Int(1))}, "soon"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseJSON([]byte(c.json))
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Fatalf("error %v, want …%q…", err, c.err)
			}
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(protocol.Value{})); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func TestTheJSONOfAResult(t *testing.T) {
	for _, c := range []struct {
		name string
		r    Result
		want string
	}{
		{"as in the contract", Result{
			ID: "a", Outcome: OK, Took: 12_900 * time.Microsecond,
			State: []protocol.Record{{Name: "desk/on", Value: protocol.Bool(true)}},
		}, `{"id":"a","outcome":"ok","ms":12,"state":{"desk/on":true}}`},
		{"without an id it says what was asked", Result{Set: []Setting{on, {Name: "n", Text: "x\"y"}}, Outcome: Invalid, Message: "no"},
			`{"id":null,"set":{"desk/on":true,"n":"x\"y"},"outcome":"invalid","ms":0,"message":"no"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := string(c.r.AppendJSON(nil)); got != c.want {
				t.Fatalf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	until := time.UnixMilli(1795219200000)
	if got := string(AppendWaiting(nil, Request{ID: "a"}, until)); got != `{"id":"a","status":"waiting","until":1795219200000}` {
		t.Fatal(got)
	}
}

// A group's results repeat what was asked once for each of up to 512 members.
func TestACommandToAGroupIsShort(t *testing.T) {
	of := func(n int) []byte {
		return []byte(`{"id":"a","set":{` + strings.Repeat(`"on":true,`, n-1) + `"on":true}}`)
	}
	if r, err := ParseGroupJSON(of(32)); err != nil || len(r.Set) != 32 {
		t.Errorf("32 attributes: %d, %v", len(r.Set), err)
	}
	if r, err := ParseGroupJSON(of(33)); err == nil || r.ID != "a" || len(r.Set) != 0 {
		t.Errorf("33 attributes: %d, %v", len(r.Set), err)
	}
}
