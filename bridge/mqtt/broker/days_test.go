package broker

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// gatewaySays speaks raw MQTT as the gateway, in memory, and reads an answer.
func gatewaySays(t *testing.T, b *Broker, say string, answer int) net.Conn {
	t.Helper()
	conn, err := b.Dial()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, say); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, answer)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestWhatADayChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Publish("hearthgate/device/lamp/desk/state", true, []byte("ON")); err != nil {
			t.Fatal(err)
		}
		const keptSession = "\x10\x0e\x00\x04MQTT\x04\x00\x00\x3c\x00\x02ha"
		const subscribe = "\x82\x0e\x00\x01\x00\x09hearth/+/\x01"
		gatewaySays(t, b, keptSession+subscribe, 4+5).Close()
		synctest.Wait()
		if s := b.Stats(); s.Sessions != 1 || s.Subscriptions != 1 || s.Clients != 0 {
			t.Errorf("a client that means to come back left %+v", s)
		}

		time.Sleep(25 * time.Hour)
		synctest.Wait()
		if s := b.Stats(); s.Sessions != 0 || s.Subscriptions != 0 {
			t.Errorf("a day later there are still %+v", s)
		}
		if b.Stats().Retained != 1 {
			t.Error("a day later the lamp's state is gone")
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
}
