package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// readYAML sets what the file says and returns in which line it says what. A key
// is a setting's name, its parts either nested or joined by dots. Errors show the
// file, the line and the place.
func readYAML(path string, src []byte, settings map[string]setting) (lines map[string]int, err error) {
	w := walker{path: path, settings: settings, seen: map[string]int{}}
	return w.seen, w.read(src)
}

func (w *walker) read(src []byte) error {
	w.lines = strings.Split(string(src), "\n")
	if err := w.tabs(); err != nil {
		return err
	}
	file, err := parser.ParseBytes(src, 0)
	if err != nil {
		return fmt.Errorf("config %s: %s", w.path, yaml.FormatError(err, false, true))
	}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		if err := w.node("", doc.Body); err != nil {
			return err
		}
	}
	return nil
}

// tabs refuses tabs at the beginning of a line (YAML 1.2 §6.1).
func (w *walker) tabs() error {
	for i, line := range w.lines {
		rest := strings.TrimLeft(line, " \t")
		indent := line[:len(line)-len(rest)]
		if at := strings.IndexByte(indent, '\t'); at >= 0 && strings.TrimSpace(rest) != "" && rest[0] != '#' {
			w.lines[i] = indent[:at] + "→" + line[at+1:]
			return w.failAt(i+1, at+1, "there is a tab before %s; indent with spaces, YAML knows no tabs there", strings.TrimSpace(rest))
		}
	}
	return nil
}

type walker struct {
	path     string
	lines    []string
	settings map[string]setting
	seen     map[string]int // name → line
}

func (w *walker) node(prefix string, n ast.Node) error {
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			if err := w.pair(prefix, v); err != nil {
				return err
			}
		}
		return nil
	case *ast.MappingValueNode:
		return w.pair(prefix, n)
	case *ast.NullNode, *ast.CommentGroupNode:
		return nil // a group with everything commented out
	}
	if prefix == "" {
		return w.fail(n.GetToken(), "want settings, such as listen.http: 127.0.0.1:8080")
	}
	return w.fail(n.GetToken(), "%s is a group; its settings come below it, indented, such as %s", prefix, w.firstOf(prefix))
}

func (w *walker) pair(prefix string, v *ast.MappingValueNode) error {
	key := v.Key.GetToken()
	name := key.Value
	if prefix != "" {
		name = prefix + "." + name
	}
	if _, ok := w.settings[name]; ok {
		if line, twice := w.seen[name]; twice {
			return w.fail(key, "%s is set twice, first in line %d", name, line)
		}
		w.seen[name] = key.Position.Line
		return w.scalar(name, v.Value)
	}
	if !w.isGroup(name) {
		return w.fail(key, "unknown setting %s%s", name, w.suggestion(name))
	}
	return w.node(name, v.Value)
}

func (w *walker) scalar(name string, n ast.Node) error {
	s, ok := w.settings[name]
	if !ok {
		return w.fail(n.GetToken(), "unknown setting %s%s", name, w.suggestion(name))
	}
	text, err := scalarText(n)
	if err == nil {
		err = s.value.Set(text)
	}
	if err != nil {
		return w.fail(n.GetToken(), "%s: %v", name, err)
	}
	return nil
}

// scalarText is a scalar, or a sequence of them joined by commas.
func scalarText(n ast.Node) (string, error) {
	switch n := n.(type) {
	case *ast.NullNode:
		return "", nil
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, nil
	case *ast.SequenceNode:
		var items []string
		for _, v := range n.Values {
			item, err := scalarText(v)
			if err != nil {
				return "", err
			}
			items = append(items, item)
		}
		return strings.Join(items, ","), nil
	}
	return "", errors.New("want a single value here")
}

func (w *walker) isGroup(name string) bool {
	for s := range w.settings {
		if strings.HasPrefix(s, name+".") {
			return true
		}
	}
	return false
}

// firstOf is the first setting of a group.
func (w *walker) firstOf(group string) string {
	for _, name := range sortedKeys(w.settings) {
		if strings.HasPrefix(name, group+".") {
			return name
		}
	}
	return ""
}

// suggestion names the setting that is nearest by spelling, if one is near.
func (w *walker) suggestion(name string) string {
	best, at := "", 4
	for s := range w.settings {
		if d := distance(s, name); d < at || d == at && s < best {
			best, at = s, d
		}
		group, _, _ := strings.Cut(s, ".")
		if d := distance(group, name); d < at && 2*d < len(name) { // short words are near to all
			best, at = group, d
		}
	}
	if best == "" || at > 3 {
		return " (hearthgate config --example shows them all)"
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// distance is the number of letters to change, add or drop (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j := range b {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// fail shows the place: file, line, column, the line itself and a caret.
func (w *walker) fail(t *token.Token, format string, args ...any) error {
	return w.failAt(t.Position.Line, t.Position.Column, format, args...)
}

func (w *walker) failAt(line, col int, format string, args ...any) error {
	source := ""
	if line >= 1 && line <= len(w.lines) {
		source = w.lines[line-1]
	}
	return fmt.Errorf("config %s:%d:%d: %s\n  %s\n  %s^", w.path, line, col,
		fmt.Sprintf(format, args...), source, strings.Repeat(" ", max(col-1, 0)))
}
