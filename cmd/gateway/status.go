package main

import (
	"reflect"
	"runtime"
	"strings"
	"time"
	"unicode"
)

// status is what `hearthgate status`, the API and /metrics show: the numbers of
// every part, by part and name.
func (g *gateway) status() map[string]any {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s := map[string]any{
		"gateway": map[string]any{
			"id": g.store.GatewayID(), "version": versionText(),
			"uptime_s": int64(time.Since(g.started).Seconds()), "goroutines": runtime.NumGoroutine(),
			"memory_bytes": m.Sys - m.HeapReleased, "connections_refused": g.refused.Load(),
			"listen_https": g.address("listen.https"), "listen_http": g.address("listen.http"), "mqtt_listen": g.address("mqtt.listen"),
		},
		"store": plainFields(g.store.Health()),
		"wear":  plainFields(g.store.Wear()),
		"links": plainFields(g.hub.Status()),
	}
	readers := map[string]any{}
	for _, c := range g.store.Cursors() {
		readers[c.Name] = map[string]any{"position": uint64(c.Pos), "lag": c.Lag, "lag_bytes": c.Bytes}
	}
	s["readers"] = readers
	for name, v := range plainFields(&g.hub.Counters) {
		s["links"].(map[string]any)[name] = v
	}
	if g.bridge != nil {
		s["mqtt"] = plainFields(g.bridge.Status())
	}
	if g.broker != nil {
		s["broker"] = plainFields(g.broker.Stats())
	}
	return s
}

// plainFields are the fields of a struct under their names in snake case: plain
// values as they are, atomics by what they hold, times as ms since 1970.
func plainFields(v any) map[string]any {
	r := reflect.Indirect(reflect.ValueOf(v))
	fields := map[string]any{}
	for i := range r.NumField() {
		f := r.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		var value any
		switch held := r.Field(i).Interface().(type) {
		case time.Time:
			value = int64(0)
			if !held.IsZero() {
				value = held.UnixMilli()
			}
		default:
			value = held
			if r.Field(i).CanAddr() {
				if a, ok := r.Field(i).Addr().Interface().(interface{ Load() uint64 }); ok {
					value = a.Load()
				}
			}
		}
		fields[snake(f.Name)] = value
	}
	return fields
}

// snake writes RefusedHTTP as refused_http.
func snake(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		start := unicode.IsUpper(r) && i > 0 && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1]))
		if start {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
