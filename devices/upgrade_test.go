package devices_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearthgate/hearthgate/devices"
	"github.com/hearthgate/hearthgate/devices/devicetest"
	"github.com/hearthgate/hearthgate/protocol"
)

func TestRequestsThatAreRefused(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{
			Origins: []string{"https://panel.example:8443"},
			Names:   func() []string { return []string{"hearthgate.local", "192.0.2.10"} },
		})
		good, revoked := home.Add("kitchen"), home.Add("cellar")
		if err := home.Registry.Revoke("cellar"); err != nil {
			t.Fatal(err)
		}
		with := func(changes ...string) http.Header {
			h := devicetest.Handshake(good)
			for i := 0; i < len(changes); i += 2 {
				if h[changes[i]] = []string{changes[i+1]}; changes[i+1] == "" {
					delete(h, changes[i])
				}
			}
			return h
		}
		for _, c := range []struct {
			name    string
			request devicetest.Request
			status  int
			text    string // part of the answer
		}{
			{"a browser's address bar", devicetest.Request{Headers: http.Header{}}, 426, "version 13"},
			{"another version", devicetest.Request{Headers: with("Sec-WebSocket-Version", "8")}, 426, "version 13"},
			{"426 comes before 401", devicetest.Request{Headers: with("Sec-WebSocket-Version", "8", "Authorization", "")}, 426, ""},
			{"no subprotocol", devicetest.Request{Headers: with("Sec-WebSocket-Protocol", "")}, 400, "hearthgate.v1"},
			{"a foreign subprotocol", devicetest.Request{Headers: with("Sec-WebSocket-Protocol", "mqtt, hearthgate.v2")}, 400, "hearthgate.v1"},
			{"400 comes before 401", devicetest.Request{Headers: with("Sec-WebSocket-Protocol", "", "Authorization", "")}, 400, ""},
			{"a short key", devicetest.Request{Headers: with("Sec-WebSocket-Key", "c2hvcnQ=")}, 400, "Sec-WebSocket-Key"},
			{"no key", devicetest.Request{Headers: with("Sec-WebSocket-Key", "")}, 400, "Sec-WebSocket-Key"},
			{"a proxy that speaks HTTP/1.0", devicetest.Request{Proto: "HTTP/1.0", Headers: with("Upgrade", "", "Connection", "close")}, 400, "proxy_http_version 1.1"},
			{"a proxy that drops Upgrade", devicetest.Request{Headers: with("Upgrade", "")}, 400, "proxy_set_header Upgrade"},
			{"Connection without upgrade", devicetest.Request{Headers: with("Connection", "keep-alive")}, 400, "proxy_set_header Connection"},
			{"POST", devicetest.Request{Method: "POST", Headers: with("Content-Length", "0")}, 400, "GET"},
			{"no token", devicetest.Request{Headers: with("Authorization", "")}, 401, "token"},
			{"an unknown token", devicetest.Request{Headers: with("Authorization", "Bearer hg1.kitchen."+strings.Repeat("A", 43))}, 401, "token"},
			{"nonsense for a token", devicetest.Request{Headers: with("Authorization", "Bearer \x00\xff")}, 400, ""},
			{"another scheme", devicetest.Request{Headers: with("Authorization", "Basic "+good)}, 401, "token"},
			{"the header decides alone", devicetest.Request{Headers: with("Authorization", "Bearer no", "Sec-WebSocket-Protocol", "hearthgate.v1, token."+good)}, 401, ""},
			{"a token in the URL", devicetest.Request{Path: "/device?token=" + good, Headers: with("Authorization", "")}, 401, ""},
			{"revoked", devicetest.Request{Headers: with("Authorization", "Bearer "+revoked)}, 403, "revoked"},
			{"a page from elsewhere", devicetest.Request{Headers: with("Origin", "https://evil.example")}, 403, "origin"},
			{"a page of no origin", devicetest.Request{Headers: with("Origin", "null")}, 403, "origin"},
			{"nearly our name", devicetest.Request{Headers: with("Origin", "https://hearthgate.local.evil.example")}, 403, "origin"},
			{"401 comes before origin", devicetest.Request{Headers: with("Authorization", "", "Origin", "https://evil.example")}, 401, ""},
			{"pairing", devicetest.Request{Path: "/pair", Headers: with()}, 503, "join window"},

			{"a device", devicetest.Request{Headers: with()}, 101, ""},
			{"lists over several lines", devicetest.Request{Headers: func() http.Header {
				h := with("Authorization", "")
				h["Connection"] = []string{"close, Upgrade"}
				h["Upgrade"] = []string{"WebSocket"}
				h["Sec-WebSocket-Protocol"] = []string{"foo", "token." + good, "hearthgate.v1"}
				return h
			}()}, 101, ""},
			{"a page of ours", devicetest.Request{Headers: with("Origin", "https://Hearthgate.local:8443")}, 101, ""},
			{"a page of ours by address", devicetest.Request{Headers: with("Origin", "http://192.0.2.10")}, 101, ""},
			{"a page that the operator named", devicetest.Request{Headers: with("Origin", "https://panel.example:8443")}, 101, ""},
			{"with extensions offered", devicetest.Request{Headers: with("Sec-WebSocket-Extensions", "permessage-deflate")}, 101, ""},
		} {
			d, r := home.Ask(c.request)
			if r.StatusCode != c.status {
				t.Errorf("%s: %s, want %d", c.name, r.Status, c.status)
			}
			if r.StatusCode == 101 {
				if p := r.Header["Sec-Websocket-Protocol"]; len(p) != 1 || p[0] != protocol.Subprotocol {
					t.Errorf("%s: subprotocol %q", c.name, p)
				}
				if e := r.Header.Get("Sec-WebSocket-Extensions"); e != "" {
					t.Errorf("%s: extension %q", c.name, e)
				}
				d.Leave()
				continue
			}
			body, _ := io.ReadAll(r.Body)
			if !strings.Contains(string(body), c.text) {
				t.Errorf("%s: %q does not say %q", c.name, body, c.text)
			}
			if strings.Contains(string(body), "hg1.") {
				t.Errorf("%s: the answer repeats a token", c.name)
			}
			if r.StatusCode == 426 && r.Header.Get("Sec-WebSocket-Version") != "13" {
				t.Errorf("%s: no Sec-WebSocket-Version: 13", c.name)
			}
			if r.StatusCode == 503 && r.Header.Get("Retry-After") == "" {
				t.Errorf("%s: no Retry-After", c.name)
			}
			d.Leave()
		}
	})
}

func TestTenThousandConnectionsFromOneAddress(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{AddressRate: 20, AddressLinks: 512, Links: 20000})
		good := home.Add("kitchen")
		elsewhere := home.Add("cellar")
		refused := 0
		for range 10_000 {
			d, r := home.Ask(devicetest.Request{Headers: devicetest.Handshake("hg1.nobody.x")})
			switch after := r.Header.Get("Retry-After"); r.StatusCode {
			case 401:
			case 429:
				refused++
				if n, err := strconv.Atoi(after); err != nil || n < 1 {
					t.Fatalf("Retry-After: %q", after)
				}
			default:
				t.Fatal(r.Status)
			}
			d.Leave()
		}
		if refused < 9_900 {
			t.Errorf("only %d were refused", refused)
		}
		if _, r := home.Ask(devicetest.Request{Headers: devicetest.Handshake(good)}); r.StatusCode != 429 {
			t.Errorf("a token got past the limit: %s", r.Status)
		}
		if _, r := home.Ask(devicetest.Request{From: "192.0.2.77:1", Headers: devicetest.Handshake(elsewhere)}); r.StatusCode != 101 {
			t.Errorf("a device at another address suffers: %s", r.Status)
		}
		time.Sleep(2 * time.Second)
		home.Dial(good).Open(1)
	})
}

func TestFullGateway(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{Links: 2, AddressLinks: 3})
		a := home.Dial(home.Add("a"))
		home.Dial(home.Add("b"))
		c := home.Add("c")
		_, r := home.Ask(devicetest.Request{Headers: devicetest.Handshake(c)})
		if r.StatusCode != 503 || r.Header.Get("Retry-After") == "" {
			t.Errorf("%s, Retry-After %q", r.Status, r.Header.Get("Retry-After"))
		}
		a.Leave()
		synctest.Wait()
		home.Dial(c)
	})
}

func TestHalfARequest(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{})
		d := home.Open("", 0)
		io.WriteString(d.Conn, "GET /device HTTP/1.1\r\nHost: gate")
		begin := time.Now()
		d.Conn.SetReadDeadline(time.Now().Add(time.Minute))
		io.ReadAll(d.Conn)
		if took := time.Since(begin); took > 11*time.Second {
			t.Errorf("half a request was held for %v", took)
		}
	})
}

// A device that does not wait for the 101 has its first frames in the same
// segment as the request.
func TestFramesBehindTheRequest(t *testing.T) {
	story(t, func(t *testing.T) {
		home := devicetest.New(t, devices.Options{})
		tok := home.Add("kitchen")
		d := home.Open("", 0)
		hello := devicetest.WebSocketFrame(true, devicetest.OpBinary, protocol.Append(nil, devicetest.Hello(1)))
		request := "GET /device HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: hearthgate.v1\r\nAuthorization: Bearer " + tok + "\r\n\r\n"
		d.SendRaw(append([]byte(request), hello...))
		if r := d.ReadResponse(); r.StatusCode != 101 {
			t.Fatal(r.Status)
		}
		if _, ok := d.Next().(*protocol.Welcome); !ok {
			t.Error("no welcome")
		}
	})
}
