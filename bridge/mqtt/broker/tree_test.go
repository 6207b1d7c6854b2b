package broker

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// matches is MQTT 5 §4.7 word by word.
func matches(filter, topic string) bool {
	f, t := strings.Split(filter, "/"), strings.Split(topic, "/")
	if strings.HasPrefix(topic, "$") && (f[0] == "+" || f[0] == "#") {
		return false
	}
	for i, level := range f {
		switch {
		case level == "#":
			return true
		case i >= len(t) || level != "+" && level != t[i]:
			return false
		}
	}
	return len(f) == len(t)
}

// matchesAll is matches, and a/# matches a.
func matchesAll(filter, topic string) bool {
	parent, ok := strings.CutSuffix(filter, "/#")
	return matches(filter, topic) || ok && matches(parent, topic)
}

func TestTheTreeMatchesAsTheStandardSays(t *testing.T) {
	level := rapid.SampledFrom([]string{"", "a", "b", "$x", "ab"})
	part := rapid.SampledFrom([]string{"", "a", "b", "$x", "ab", "+", "+"})
	topics := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(level, 1, 5).Draw(t, "levels"), "/")
	}).Filter(func(s string) bool { return s != "" })
	filters := rapid.Custom(func(t *rapid.T) string {
		levels := rapid.SliceOfN(part, 0, 5).Draw(t, "levels")
		if len(levels) == 0 || rapid.Bool().Draw(t, "rest") {
			levels = append(levels, "#")
		}
		return strings.Join(levels, "/")
	}).Filter(func(s string) bool { return s != "" })

	rapid.Check(t, func(t *rapid.T) {
		var byFilter, byTopic tree[string]
		there := map[string]bool{}
		for _, f := range rapid.SliceOf(filters).Draw(t, "filters") {
			byFilter.put(f, &f)
			there[f] = true
		}
		for _, f := range rapid.SliceOf(filters).Draw(t, "removed") {
			byFilter.remove(f)
			delete(there, f)
		}
		names := rapid.SliceOfDistinct(topics, rapid.ID[string]).Draw(t, "topics")
		for _, name := range names {
			byTopic.put(name, &name)
			var got, want []string
			byFilter.filtersOf(name, func(f *string) { got = append(got, *f) })
			for f := range there {
				if matchesAll(f, name) {
					want = append(want, f)
				}
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Fatalf("%q matches %q, want %q", name, got, want)
			}
		}
		for f := range there {
			var got, want []string
			byTopic.topicsOf(f, func(name *string) { got = append(got, *name) })
			for _, name := range names {
				if matchesAll(f, name) {
					want = append(want, name)
				}
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Fatalf("%q finds %q, want %q", f, got, want)
			}
			if v := byFilter.get(f); v == nil || *v != f {
				t.Fatalf("%q is not there", f)
			}
		}
		for f := range there {
			byFilter.remove(f)
		}
		if len(byFilter.root.children) != 0 {
			t.Fatalf("nodes stay: %v", byFilter.root.children)
		}
	})
}

// A model of the queue: a slice.
func TestTheQueueIsAQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var q queue
		var want []string
		for i, push := range rapid.SliceOfN(rapid.Bool(), 0, 300).Draw(t, "steps") {
			if push {
				s := strings.Repeat(string(rune('a'+i%26)), i%40)
				q.push(entry{topic: 1, props: 2, payload: len(s)}, "t", []byte("i"), []byte("p"), []byte(s))
				want = append(want, "tip"+s)
			} else if len(want) > 0 {
				if _, b := q.front(); string(b) != want[0] {
					t.Fatalf("%q, want %q", b, want[0])
				}
				q.pop()
				want = want[1:]
			}
			if q.count() != len(want) {
				t.Fatalf("%d, want %d", q.count(), len(want))
			}
		}
	})
}

func TestTheWindowNeverGivesAnIDTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := window{next: 65500} // so that ids begin again
		var busy []uint16
		for range rapid.IntRange(0, 3000).Draw(t, "steps") {
			if len(busy) < maxUnacked && (len(busy) == 0 || rapid.IntRange(0, 2).Draw(t, "take") > 0) {
				s := w.take()
				if s.id == 0 || slices.Contains(busy, s.id) {
					t.Fatalf("id %d again", s.id)
				}
				busy = append(busy, s.id)
				continue
			}
			i := rapid.IntRange(0, len(busy)-1).Draw(t, "which")
			s := w.find(busy[i])
			if s == nil {
				t.Fatalf("id %d is lost", busy[i])
			}
			w.free(s)
			if w.find(busy[i]) != nil {
				t.Fatalf("id %d is still there", busy[i])
			}
			busy = slices.Delete(busy, i, i+1)
		}
		if got := w.unsettled(); !slices.Equal(got, busy) {
			t.Fatalf("%v, want %v", got, busy)
		}
	})
}
