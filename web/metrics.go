package web

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
)

// metrics shows the numbers of the status in Prometheus' text format (version
// 0.0.4): hearthgate_<part>_<name>. What is not a number is left out.
func (a *API) metrics(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	if a.Status != nil {
		writeMetrics(w, "hearthgate", a.Status())
	}
	return nil
}

func writeMetrics(w io.Writer, prefix string, m map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		full := prefix + "_" + name
		switch v := m[name].(type) {
		case map[string]any:
			writeMetrics(w, full, v)
		case bool:
			n := 0
			if v {
				n = 1
			}
			fmt.Fprintf(w, "# TYPE %s gauge\n%s %d\n", full, full, n)
		case int, int64, uint64, float64:
			fmt.Fprintf(w, "# TYPE %s untyped\n%s %v\n", full, full, v)
		}
	}
}
