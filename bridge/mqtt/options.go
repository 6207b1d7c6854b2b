package mqtt

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"

	"github.com/hearthgate/hearthgate/command"
	"github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// Options of a bridge. Store, Registry and Commands are needed, and either
// Broker or Embedded; the zero value of any other field is its default.
type Options struct {
	Store    *store.Store
	Registry *registry.Registry
	Commands *command.Service

	BaseTopic       string // "hearthgate"
	Discovery       string // "device" (default), "components" or "off"
	DiscoveryPrefix string // "homeassistant"
	Homie           bool   // speak to Homie controllers as well
	HomiePrefix     string // "homie"
	Version         string // of the gateway

	// Broker is mqtt://host:1883, mqtts://host:8883, ws:// or wss://. User and
	// password may stand in it.
	Broker   string
	User     string
	Password string
	CAFile   string // PEM, who signs the broker's certificate; "" = the system's roots
	CertFile string // PEM, our certificate for the broker, with KeyFile
	KeyFile  string

	// Embedded is a broker in this process. The bridge connects to it as to any
	// other, but messages and commands take shorter ways than the connection.
	Embedded Embedded

	Log *slog.Logger // nil = discard
}

// Embedded is a broker in this process. All of it is called from many goroutines.
type Embedded interface {
	Dial() (net.Conn, error)
	// Publish returns when the broker has the message at QoS 1 and has copied
	// payload. It is much faster than over the connection, so it has to wait while
	// a subscriber's queue is long, or that subscriber loses messages.
	Publish(topic string, retained bool, payload []byte) error
	// PublishNow does the same for one message that a person may be waiting for.
	// It does not block: ok is false where Publish would have to wait.
	PublishNow(topic string, payload []byte) (ok bool)
	// OnCommand hands what is published on …/set and …/command to take, which does
	// not block and does not keep payload. When it returns, no call of an earlier
	// take runs any more. nil = nobody takes them.
	OnCommand(take func(topic string, payload []byte, refused bool))
	// Dropped is how many messages slow subscribers have lost so far.
	Dropped() int64
}

// Kinds of discovery.
const (
	DiscoverDevices    = "device"     // one message a device, for Home Assistant
	DiscoverComponents = "components" // one message a component, for older readers
	DiscoverNothing    = "off"
)

func (o *Options) complete() error {
	if o.Store == nil || o.Registry == nil || o.Commands == nil {
		return errors.New("mqtt: Store, Registry and Commands are needed")
	}
	for _, d := range []struct {
		field *string
		value string
	}{{&o.BaseTopic, "hearthgate"}, {&o.Discovery, DiscoverDevices}, {&o.DiscoveryPrefix, "homeassistant"}, {&o.HomiePrefix, "homie"}, {&o.Version, "dev"}} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	switch o.Discovery {
	case DiscoverDevices, DiscoverComponents, DiscoverNothing:
	default:
		return fmt.Errorf("mqtt.discovery %q: want device, components or off", o.Discovery)
	}
	if err := checkTopic(o.DiscoveryPrefix); err != nil {
		return fmt.Errorf("mqtt.discovery_prefix %q: %w", o.DiscoveryPrefix, err)
	}
	if !validLevel(o.HomiePrefix) {
		return fmt.Errorf("mqtt.homie_prefix %q: want one level of a topic", o.HomiePrefix)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// parseBroker completes the address of the broker and takes user and password
// out of it.
func (o *Options) parseBroker() (*url.URL, error) {
	if o.Embedded != nil {
		return &url.URL{Scheme: "mqtt", Host: "embedded"}, nil
	}
	u, err := url.Parse(o.Broker)
	if err != nil || u.Hostname() == "" {
		return nil, fmt.Errorf("mqtt.broker %q: want mqtt://host:1883 or mqtts://host:8883", o.Broker)
	}
	port := map[string]string{"mqtt": "1883", "tcp": "1883", "mqtts": "8883", "ssl": "8883", "tls": "8883", "ws": "80", "wss": "443"}[u.Scheme]
	if port == "" {
		return nil, fmt.Errorf("mqtt.broker %q: want the scheme mqtt, mqtts, ws or wss", u.Redacted())
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), port)
	}
	if u.User != nil {
		if o.User == "" {
			o.User = u.User.Username()
		}
		if p, ok := u.User.Password(); ok && o.Password == "" {
			o.Password = p
		}
		u.User = nil
	}
	return u, nil
}

// tlsConfig reads what the operator gave for TLS, nil if the address is not one
// of TLS. It is read at each connection, so that renewed files count.
func (o *Options) tlsConfig(broker *url.URL) (*tls.Config, error) {
	switch broker.Scheme {
	case "mqtts", "ssl", "tls", "wss":
	default:
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: broker.Hostname()}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fmt.Errorf("broker's CA: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("broker's CA: %s has no PEM certificate", o.CAFile)
		}
	}
	if o.CertFile != "" || o.KeyFile != "" {
		cert, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("certificate for the broker: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}
