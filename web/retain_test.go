package web

import (
	"strings"
	"testing"
)

// What one device says may be kept longer or shorter than the rest.
func TestKeepingAPartOfTheHistoryForAnotherTime(t *testing.T) {
	h := newHome(t)
	h.want(201, "POST", "/api/v1/devices", `{"id":"kitchen"}`)
	if s := h.want(200, "GET", "/api/v1/retain", ""); !strings.HasSuffix(s, `"overrides":[]}`+"\n") {
		t.Error(s)
	}
	for path, body := range map[string]string{
		"kitchen":      `{}`,
		"kitchen/desk": `{"raw":"tomorrow"}`,
		"kitchen/":     `{"raw":"5m"}`,
		"garden":       `{"raw":"30d"}`,
		"kitchen/lamp": `{"row":"30d"}`,
	} {
		want := 400
		if path == "garden" || path == "kitchen/" {
			want = 404
		}
		h.want(want, "PUT", "/api/v1/retain/"+path, body)
	}
	// Rows are kept as long as what they are made of, at least.
	if s := h.want(200, "PUT", "/api/v1/retain/kitchen/desk/power", `{"raw":"36h","5m":"12h","1h":"forever"}`); s != `{"name":"kitchen/desk/power","raw":"36h","5m":"36h","1h":"forever","1d":"forever"}`+"\n" {
		t.Error(s)
	}
	if s := h.want(200, "GET", "/api/v1/retain", ""); !strings.Contains(s, `"overrides":[{"name":"kitchen/desk/power","raw":"36h"`) {
		t.Error(s)
	}
	h.want(200, "DELETE", "/api/v1/retain/kitchen/desk/power", "")
	h.want(404, "DELETE", "/api/v1/retain/kitchen/desk/power", "")
}
