package main

import (
	"strings"
	"testing"
)

func TestSummaryOfStatus(t *testing.T) {
	well := map[string]any{
		"gateway": map[string]any{"id": "k3v9x2ab", "version": "1", "uptime_s": 90.0, "memory_bytes": float64(9 << 20)},
		"store":   map[string]any{"healthy": true, "entries": 5.0, "commits": 2.0, "file_bytes": 65536.0},
		"wear":    map[string]any{"bytes_today": 31.4e6, "syncs_today": 86000.0, "per_sample": 12.1, "gb_year": 11.5, "life_years": 278.0},
		"links":   map[string]any{"sessions": 3.0, "acked": 5.0, "panics": 0.0},
		"mqtt":    map[string]any{"connected": true, "broker": "embedded", "lag": 0.0},
	}
	var b strings.Builder
	printSummary(&b, well)
	want := "gateway\tk3v9x2ab, version 1, up 1m30s, 9 MB of memory\n" +
		"store\thealthy, 5 entries in 2 commits since the start, 64 KB\n" +
		"card\t31.4 MB in 86000 syncs written today, 12 bytes a sample; 11.5 GB a year, a 32 GB card bears that for more than 100 years\n" +
		"devices\t3 connected, 5 frames acknowledged\n" +
		"mqtt\tconnected to embedded, 0 entries behind\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
	ill := map[string]any{
		"store": map[string]any{"healthy": false, "err": "disk full", "damaged": 2.0, "in_memory": true, "in_memory_since": 1795219200000.0},
		"mqtt":  map[string]any{"connected": false, "broker": "mqtt://pi:1883", "lag": 7.0, "err": "refused"},
	}
	b.Reset()
	printSummary(&b, ill)
	for _, part := range []string{"FAILING: disk full; IN MEMORY ONLY since 2026-11-2", "NOT CONNECTED to mqtt://pi:1883, 7 entries wait: refused", "look at\tstore.damaged 2"} {
		if !strings.Contains(b.String(), part) {
			t.Errorf("no %q in\n%s", part, b.String())
		}
	}
}

func TestTokenAddCompletesNameAndRole(t *testing.T) {
	for _, c := range []struct {
		args       []string
		role       string
		said       bool
		name, want string // the name's beginning, the role
	}{
		{[]string{"panel"}, "control", false, "panel", "control"},
		{[]string{"panel"}, "read", true, "panel", "read"},
		{nil, "control", false, "control-", "control"},
		{[]string{"read"}, "control", false, "read-", "read"},
		{[]string{"read"}, "admin", true, "read", "admin"},
	} {
		name, role := nameAndRole(c.args, c.role, c.said)
		if !strings.HasPrefix(name, c.name) || role != c.want {
			t.Errorf("%v: %s, %s", c, name, role)
		}
	}
}
