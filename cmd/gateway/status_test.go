package main

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPlainFields(t *testing.T) {
	var parts struct {
		RefusedHTTP atomic.Uint64
		Healthy     bool
		Since       time.Time
		Never       time.Time
		Err         string
		hidden      int
	}
	parts.RefusedHTTP.Add(3)
	parts.Healthy, parts.Since, parts.hidden = true, time.UnixMilli(1795219200000), 1
	want := map[string]any{"refused_http": uint64(3), "healthy": true, "since": int64(1795219200000), "never": int64(0), "err": ""}
	if d := cmp.Diff(want, plainFields(&parts)); d != "" {
		t.Error(d)
	}
}

func TestSnake(t *testing.T) {
	for name, want := range map[string]string{"RefusedHTTP": "refused_http", "FileBytes": "file_bytes", "Err": "err", "MQTTUsers": "mqtt_users"} {
		if got := snake(name); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}
