package devices

import (
	"encoding/base64"
	"errors"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lxzan/gws"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/registry"
)

// ServeHTTP answers /device: it refuses in the order of PROTOCOL.md, Transport,
// or makes the connection a link. It returns once the link runs on a goroutine
// of its own, so that the memory of the request goes.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Sec-WebSocket-Version") != "13" {
		h.Counters.RefusedHTTP.Add(1)
		w.Header().Set("Sec-WebSocket-Version", "13")
		http.Error(w, "devices connect here by WebSocket version 13 (RFC 6455)", http.StatusUpgradeRequired)
		return
	}
	if missing := missing(r); len(missing) > 0 {
		h.Counters.RefusedHTTP.Add(1)
		http.Error(w, "not a WebSocket handshake: "+strings.Join(missing, "; "), http.StatusBadRequest)
		return
	}
	key := addressKey(r.RemoteAddr)
	if !h.admit(w, key) {
		return
	}
	kept := false
	defer func() {
		if !kept {
			h.release(key)
		}
	}()
	id, ok := h.authenticate(w, r)
	if !ok {
		return
	}
	kept = h.upgrade(w, r, id, key)
}

// Pair answers /pair. Pairing needs an open join window, and there is none.
func (h *Hub) Pair(w http.ResponseWriter, r *http.Request) {
	h.Counters.RefusedFull.Add(1)
	unavailable(w, http.StatusServiceUnavailable, time.Minute, "the join window is closed: add the device with `hearthgate device add` and give it the token")
}

// missing says what a request lacks to be a WebSocket handshake of ours. Lists
// may be spread over several header lines (RFC 9110 §5.3).
func missing(r *http.Request) (m []string) {
	if r.Method != http.MethodGet {
		m = append(m, "the method must be GET")
	}
	upgrade := lists(r, "Upgrade", "websocket") && lists(r, "Connection", "upgrade")
	switch {
	case !r.ProtoAtLeast(1, 1) || r.ProtoMajor == 1 && !upgrade:
		m = append(m, "needs HTTP/1.1 with `Connection: Upgrade` and `Upgrade: websocket`; a proxy in between must pass them on (nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";)")
	case r.ProtoMajor > 1:
		m = append(m, "needs HTTP/1.1, not "+r.Proto)
	}
	if k, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-WebSocket-Key")); err != nil || len(k) != 16 {
		m = append(m, "Sec-WebSocket-Key must be 16 bytes of base64")
	}
	if !slices.Contains(offered(r), protocol.Subprotocol) {
		m = append(m, "Sec-WebSocket-Protocol must offer "+protocol.Subprotocol)
	}
	return m
}

// lists reports whether a header that is a list holds the token.
func lists(r *http.Request, header, token string) bool {
	for _, line := range r.Header.Values(header) {
		for _, v := range strings.Split(line, ",") {
			if strings.EqualFold(strings.TrimSpace(v), token) {
				return true
			}
		}
	}
	return false
}

// offered are the subprotocols in the order offered.
func offered(r *http.Request) (all []string) {
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for _, v := range strings.Split(line, ",") {
			all = append(all, strings.TrimSpace(v))
		}
	}
	return all
}

// token is the credential of a request: that of the Authorization header if
// there is one, else that in the subprotocol token.<token>.
func token(r *http.Request) string {
	if a, ok := r.Header["Authorization"]; ok {
		scheme, t, _ := strings.Cut(strings.Join(a, ","), " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return ""
		}
		return strings.TrimSpace(t)
	}
	for _, p := range offered(r) {
		if t, ok := strings.CutPrefix(p, "token."); ok {
			return t
		}
	}
	return ""
}

// admit applies the limits that hold before a token was seen.
func (h *Hub) admit(w http.ResponseWriter, key netip.Addr) bool {
	if ok, wait := h.addresses.enter(key, time.Now()); !ok {
		h.Counters.RefusedRate.Add(1)
		unavailable(w, http.StatusTooManyRequests, wait, "too many connections from this address")
		return false
	}
	h.mu.Lock()
	draining, full := h.draining.Load(), h.o.Links > 0 && h.open >= h.o.Links
	if !draining && !full {
		h.open++
		h.running.Add(1)
	}
	h.mu.Unlock()
	if draining || full {
		h.addresses.leave(key)
		h.Counters.RefusedFull.Add(1)
		text := "the gateway is restarting"
		if full {
			text = "the gateway has as many links as it takes (limits.links)"
		}
		unavailable(w, http.StatusServiceUnavailable, 10*time.Second, text)
		return false
	}
	return true
}

// release takes back what admit gave.
func (h *Hub) release(key netip.Addr) {
	h.addresses.leave(key)
	h.mu.Lock()
	h.open--
	h.mu.Unlock()
	h.running.Done()
}

func unavailable(w http.ResponseWriter, status int, wait time.Duration, text string) {
	w.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(wait.Seconds())))))
	http.Error(w, text, status)
}

// authenticate finds whose token the request shows, or answers 401 or 403.
func (h *Hub) authenticate(w http.ResponseWriter, r *http.Request) (id string, ok bool) {
	id, err := h.o.Registry.Authenticate(token(r))
	switch {
	case errors.Is(err, registry.ErrRevoked):
		h.Counters.RefusedRevoke.Add(1)
		http.Error(w, "revoked", http.StatusForbidden)
		return "", false
	case err != nil:
		h.Counters.RefusedToken.Add(1)
		h.log.Debug("device refused: no token, or an unknown one", "remote", r.RemoteAddr)
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "no token, or one that is not known", http.StatusUnauthorized)
		return "", false
	}
	if o, asked := r.Header["Origin"]; asked && !h.originAllowed(o[0]) {
		h.Counters.RefusedOrigin.Add(1)
		h.log.Info("page refused: its origin is neither ours nor in listen.origins", "device", id, "origin", clean(o[0], 200))
		http.Error(w, "origin", http.StatusForbidden)
		return "", false
	}
	return id, true
}

// originAllowed reports whether a page from there may connect: one of our own
// names at any port, or an origin that the operator listed.
func (h *Hub) originAllowed(origin string) bool {
	if slices.ContainsFunc(h.o.Origins, func(o string) bool { return strings.EqualFold(strings.TrimSuffix(o, "/"), origin) }) {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || h.o.Names == nil {
		return false
	}
	return slices.ContainsFunc(h.o.Names(), func(n string) bool { return strings.EqualFold(n, u.Hostname()) })
}

// upgrade answers 101 and starts the link. It reports whether the link runs.
func (h *Hub) upgrade(w http.ResponseWriter, r *http.Request, id string, key netip.Addr) bool {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		http.Error(w, "this connection cannot be upgraded", http.StatusInternalServerError)
		return false
	}
	conn, buffered, err := hijacker.Hijack()
	if err != nil {
		h.log.Warn("upgrade failed", "device", id, "err", err)
		return false
	}
	l := h.newLink(id, conn, key)
	if n := buffered.Reader.Buffered(); n > 0 {
		early, _ := buffered.Reader.Peek(n)
		l.conn.ahead.rest = slices.Clone(early)
	}
	socket, err := h.upgrader.UpgradeFromConn(l.conn, l.conn.reader(), plain(r))
	if err != nil {
		conn.Close()
		return false
	}
	l.start(socket)
	return true
}

// plain is the handshake as the upgrader wants to see it: it reads only the
// first line of a list, and what it does not see it cannot echo.
func plain(r *http.Request) *http.Request {
	return &http.Request{Method: http.MethodGet, Header: http.Header{
		"Connection":             {"Upgrade"},
		"Upgrade":                {"websocket"},
		"Sec-Websocket-Version":  {"13"},
		"Sec-Websocket-Key":      r.Header["Sec-Websocket-Key"],
		"Sec-Websocket-Protocol": {protocol.Subprotocol},
	}}
}

func newUpgrader(limit int) *gws.Upgrader {
	return gws.NewUpgrader(events{}, &gws.ServerOption{
		ReadMaxPayloadSize: limit,
		CheckUtf8Enabled:   true,
		SubProtocols:       []string{protocol.Subprotocol},
		ParallelGolimit:    1,
		NewSession:         func() gws.SessionStorage { return nil }, // the link is found by its connection
	})
}
