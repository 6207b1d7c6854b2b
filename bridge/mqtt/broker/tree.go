package broker

import "strings"

// tree keeps values by topic or filter, level by level. It can be asked from both
// sides: which filters match a topic, and which topics a filter matches. A node
// without value and children does not stay.
type tree[V any] struct{ root node[V] }

type node[V any] struct {
	children map[string]*node[V]
	value    *V
}

func (t *tree[V]) put(name string, value *V) {
	n := &t.root
	for level, rest, more := "", name, true; more; {
		level, rest, more = strings.Cut(rest, "/")
		child := n.children[level]
		if child == nil {
			if n.children == nil {
				n.children = map[string]*node[V]{}
			}
			child = &node[V]{}
			n.children[strings.Clone(level)] = child // which must not keep a long name alive
		}
		n = child
	}
	n.value = value
}

// get returns the value at name, or nil.
func (t *tree[V]) get(name string) *V {
	n := &t.root
	for level, rest, more := "", name, true; more; {
		level, rest, more = strings.Cut(rest, "/")
		if n = n.children[level]; n == nil {
			return nil
		}
	}
	return n.value
}

func (t *tree[V]) remove(name string) { t.root.remove(name, true) }

func (n *node[V]) remove(rest string, more bool) {
	if !more {
		n.value = nil
		return
	}
	level, rest, more := strings.Cut(rest, "/")
	child := n.children[level]
	if child == nil {
		return
	}
	if child.remove(rest, more); child.value == nil && len(child.children) == 0 {
		delete(n.children, level)
	}
}

// filtersOf visits the values of all filters that match a topic (MQTT 5 §4.7).
func (t *tree[V]) filtersOf(topic string, visit func(*V)) {
	t.root.filtersOf(topic, true, strings.HasPrefix(topic, "$"), visit)
}

// hidden says that the next level is the first and begins with $, which no
// wildcard matches.
func (n *node[V]) filtersOf(rest string, more, hidden bool, visit func(*V)) {
	if all := n.children["#"]; all != nil && all.value != nil && !hidden {
		visit(all.value) // also at the end: a/# matches a
	}
	if !more {
		if n.value != nil {
			visit(n.value)
		}
		return
	}
	level, rest, more := strings.Cut(rest, "/")
	if child := n.children[level]; child != nil {
		child.filtersOf(rest, more, false, visit)
	}
	if one := n.children["+"]; one != nil && !hidden {
		one.filtersOf(rest, more, false, visit)
	}
}

// topicsOf visits the values of all topics that a filter matches.
func (t *tree[V]) topicsOf(filter string, visit func(*V)) {
	t.root.topicsOf(filter, true, true, visit)
}

func (n *node[V]) topicsOf(rest string, more, first bool, visit func(*V)) {
	if !more {
		if n.value != nil {
			visit(n.value)
		}
		return
	}
	level, rest, more := strings.Cut(rest, "/")
	switch level {
	case "#":
		if n.value != nil {
			visit(n.value)
		}
		for name, child := range n.children {
			if !first || !strings.HasPrefix(name, "$") {
				child.topicsOf("#", true, false, visit)
			}
		}
	case "+":
		for name, child := range n.children {
			if !first || !strings.HasPrefix(name, "$") {
				child.topicsOf(rest, more, false, visit)
			}
		}
	default:
		if child := n.children[level]; child != nil {
			child.topicsOf(rest, more, false, visit)
		}
	}
}

// validTopic reports whether messages can have this topic.
func validTopic[T string | []byte](topic T) bool {
	if len(topic) == 0 {
		return false
	}
	for i := range len(topic) {
		if c := topic[i]; c == '+' || c == '#' || c == 0 {
			return false
		}
	}
	return validText([]byte(topic))
}

// validFilter reports whether wildcards stand only where they may.
func validFilter(filter string) bool {
	for level, rest, more := "", filter, true; more; {
		level, rest, more = strings.Cut(rest, "/")
		if strings.ContainsAny(level, "+#") && len(level) > 1 || level == "#" && more {
			return false
		}
	}
	return filter != "" && validText([]byte(filter))
}

// shareOf splits $share/group/filter; ok is false if it is no proper one. A filter
// that is not shared has no group.
func shareOf(filter string) (group, inner string, ok bool) {
	rest, shared := strings.CutPrefix(filter, "$share/")
	if !shared {
		return "", filter, true
	}
	group, inner, _ = strings.Cut(rest, "/")
	return group, inner, group != "" && inner != "" && !strings.ContainsAny(group, "+#")
}
