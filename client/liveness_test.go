package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lxzan/gws"

	"github.com/hearthgate/hearthgate/client"
	"github.com/hearthgate/hearthgate/protocol"
)

func TestTheUpgradeCarriesTokenAndSubprotocol(t *testing.T) {
	play(t, client.Config{}, func(t *testing.T, g *gateway, d *client.Device) {
		c, r, _ := g.request()
		if got := r.Header.Get("Authorization"); got != "Bearer hg1.desk.secret" {
			t.Errorf("Authorization: %q", got)
		}
		if got := r.Header.Get("Sec-WebSocket-Protocol"); got != "hearthgate.v1" {
			t.Errorf("subprotocol %q", got)
		}
		if r.URL.Path != "/device" || strings.Contains(r.URL.String(), "secret") {
			t.Errorf("URL %s", r.URL)
		}
		c.Close()
	})
}

func TestRefusalsAreToldAsTheyAre(t *testing.T) {
	for _, c := range []struct {
		status       int
		header, text string
		want         client.Refused
	}{
		{401, "", "who are you?", client.Refused{Status: 401, Text: "who are you?"}},
		{403, "", "revoked", client.Refused{Status: 403, Text: "revoked"}},
		{503, "Retry-After: 7\r\n", "full", client.Refused{Status: 503, Text: "full", RetryAfter: 7 * time.Second}},
		{429, "Retry-After: nonsense\r\n", "", client.Refused{Status: 429}},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newGateway(t)
			go g.refuse(c.status, c.header, c.text)
			_, err := client.Dial(t.Context(), g.options())
			var got *client.Refused
			if !errors.As(err, &got) || *got != c.want {
				t.Errorf("%d: %#v, want %#v", c.status, err, c.want)
			}
		})
	}
}

func TestARevokedDeviceTriesAgainEveryTenMinutes(t *testing.T) {
	var ends []string
	cfg := client.Config{OnEnd: func(err error, wait time.Duration) { ends = append(ends, fmt.Sprintf("%v, %s", err, wait)) }}
	play(t, cfg, func(t *testing.T, g *gateway, d *client.Device) {
		began := time.Now()
		for range 3 {
			g.refuse(http.StatusForbidden, "", "revoked")
		}
		if took := time.Since(began); took != 20*time.Minute {
			t.Errorf("three tries took %s, want 20 minutes", took)
		}
		synctest.Wait()
		if len(ends) == 0 || ends[0] != "refused with 403 Forbidden: revoked, 10m0s" {
			t.Errorf("told %q", ends)
		}
	})
}

func TestAPingIsAnsweredWithItsPayload(t *testing.T) {
	play(t, client.Config{}, func(t *testing.T, g *gateway, d *client.Device) {
		l := g.welcome(protocol.Welcome{Heartbeat: 30})
		for range 100 { // fifty minutes of nothing but pings
			time.Sleep(29 * time.Second)
			if err := l.ws.WriteMessage(gws.OpcodePing, []byte("beat")); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if l.pongs != 100 || d.Stats().Sessions != 1 {
			t.Errorf("%d pongs in %d sessions, want 100 in one", l.pongs, d.Stats().Sessions)
		}
		l.silent(time.Second) // pings arrive, so there is no need to ask
	})
}

func TestASilentGatewayIsAskedAndThenGivenUp(t *testing.T) {
	var end error
	cfg := client.Config{OnEnd: func(err error, _ time.Duration) { end = err }}
	play(t, cfg, func(t *testing.T, g *gateway, d *client.Device) {
		l := g.welcome(protocol.Welcome{Heartbeat: 10})
		began := time.Now()
		ping := expect[protocol.Ping](l)
		l.send(protocol.Pong{Token: ping.Token})
		expect[protocol.Ping](l) // it answered: asked again a heartbeat later
		<-l.ended
		if took := time.Since(began); took < 35*time.Second || took > 40*time.Second {
			t.Errorf("given up after %s, want 2.5 heartbeats after the pong", took)
		}
		synctest.Wait()
		if end == nil || !strings.Contains(end.Error(), "silent") {
			t.Errorf("ended with %v", end)
		}
	})
}

func TestNoWelcomeIsAnErrorWithItsCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		go g.accept()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := client.Dial(ctx, g.options()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want the deadline", err)
		}
	})
}

func TestTheCloseCodeAndTheByeAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		go func() {
			l := g.welcome(protocol.Welcome{})
			l.send(protocol.Bye{Reason: "restart", Seconds: 3})
			l.close(protocol.CloseRestart)
		}()
		c, err := client.Dial(t.Context(), g.options())
		if err != nil {
			t.Fatal(err)
		}
		<-c.Done()
		if end := c.Err(); end.Code != protocol.CloseRestart || end.Hold != 3*time.Second {
			t.Errorf("ended with %+v", end)
		}
	})
}

// A length with its top bit set makes the WebSocket library panic.
func TestAHostileFrameEndsTheLinkAlone(t *testing.T) {
	play(t, client.Config{}, func(t *testing.T, g *gateway, d *client.Device) {
		l := g.welcome(protocol.Welcome{})
		if _, err := l.net.Write([]byte{0x82, 127, 0xff, 0, 0, 0, 0, 0, 0, 0}); err != nil {
			t.Fatal(err)
		}
		<-l.ended
		g.welcome(protocol.Welcome{}).cut()
	})
}

func TestAFrameOfALaterVersionIsIgnored(t *testing.T) {
	play(t, client.Config{}, func(t *testing.T, g *gateway, d *client.Device) {
		l := g.welcome(protocol.Welcome{})
		if err := l.ws.WriteMessage(gws.OpcodeBinary, []byte{0x82, 0x0e, 0xa0}); err != nil { // [14, {}]
			t.Fatal(err)
		}
		d.Report(temperature(1.5))
		expect[*protocol.Telemetry](l)
	})
}

func TestAGrantIsKeptAndThenUsed(t *testing.T) {
	var kept []string
	cfg := client.Config{OnGrant: func(g *protocol.Grant) error {
		kept = append(kept, g.Token)
		if g.Token == "unwritable" {
			return errors.New("flash is full")
		}
		return nil
	}}
	play(t, cfg, func(t *testing.T, g *gateway, d *client.Device) {
		l := g.welcome(protocol.Welcome{})
		l.send(&protocol.Grant{Token: "unwritable"})
		l.silent(time.Second)
		l.send(&protocol.Grant{Token: "hg1.desk.new", URLs: []string{"ws://gone/device", "ws://moved/device"}})
		<-l.ended

		c, r, _ := g.request()
		if r.Header.Get("Authorization") != "Bearer hg1.desk.new" || r.Host != "gone" {
			t.Errorf("came to %s with %q, want the new token at the first address", r.Host, r.Header.Get("Authorization"))
		}
		c.Close()
		for range 2 { // the second address works, so it stays
			c, r, br := g.request()
			if r.Host != "moved" {
				t.Errorf("came to %s, want the next address", r.Host)
				c.Close()
				continue
			}
			l := g.upgrade(c, r, br)
			l.welcome(protocol.Welcome{})
			synctest.Wait()
			l.cut()
		}
		if strings.Join(kept, " ") != "unwritable hg1.desk.new" {
			t.Errorf("kept %q", kept)
		}
	})
}
