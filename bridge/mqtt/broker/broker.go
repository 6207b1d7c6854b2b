// Package broker is the MQTT broker inside the gateway, for homes that have none.
// It is mochi-mqtt with its limits set and one gatekeeper that says no unless a
// rule says yes; acl.go holds the rules. Nothing is kept on disk: what has to
// last is the gateway's log, and the bridge publishes it again after a start.
package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Limits on what one client, or all together, can make the gateway hold. They are
// far above what a home needs.
const (
	maxClients        = 256                // connections, the gateway's own aside
	maxNetworkClients = maxClients * 3 / 4 // so that this machine's own always find room
	maxPerAddress     = 32                 // connections from one address of the network
	maxSessions       = 2 * maxClients     // connected ones and those that may come back
	sessionLife       = 24 * 60 * 60       // s: how long one that is away is kept
	maxConnect        = 64 << 10           // bytes: CONNECT with its will
	maxPacket         = 128 << 10          // bytes: any later packet of a client
	maxOwnPacket      = 256 << 10          // bytes: a packet of the gateway (large discoveries)
	maxQueued         = 8 << 10            // messages that wait for one client's connection
	maxUnacked        = 32 << 10           // messages that one client has not acknowledged
	maxSubscriptions  = 1 << 10            // of one client
	maxRetained       = 64 << 10           // retained messages of others, all together
	maxRetainedBytes  = 16 << 20           // of them
	maxKeepalive      = 600                // s
	connectTimeout    = 10 * time.Second   // until CONNECT is complete
	writeTimeout      = 10 * time.Second   // until a client has taken a packet
)

// Accounts are the home's MQTT accounts; the registry keeps them. Both methods
// are called from many goroutines.
type Accounts interface {
	// CheckMQTTUser may take as long as hashing a password does.
	CheckMQTTUser(name, password string) bool
	MQTTUsers() []string
}

// Options says where the broker listens and whose topics it guards.
type Options struct {
	// Listen is the TCP address for clients; "" means none, so that only Dial
	// and Publish reach the broker.
	Listen string

	BaseTopic       string // "" means hearthgate
	DiscoveryPrefix string // "" means homeassistant

	// Accounts admits clients from the network. Nil means that there are none.
	Accounts Accounts

	// Log hears of refusals, the same at most once a minute. Nil is silent.
	Log *slog.Logger

	// isLocal tells this machine's clients from the network's. Nil means by
	// loopback address; tests have no other network.
	isLocal func(netip.Addr) bool
}

// Broker is one embedded broker. All its methods may be called at once.
type Broker struct {
	// Set by New.
	opts     Options
	log      *slog.Logger
	rules    rules
	server   *mqtt.Server
	listener net.Listener // nil without Options.Listen
	closed   chan struct{}

	once    sync.Once
	serving sync.WaitGroup // one for each connection

	counters
	unacked unacked
	laggard atomic.Pointer[peer] // whose queue is long, for the next who publishes

	mu          sync.Mutex // guards what follows
	peers       map[*peer]struct{}
	network     int                // of peers, those from the network
	fromAddress map[netip.Addr]int // of those, by address

	retainedBytes int       // in retained messages of others than the gateway
	recounted     time.Time // when that was last right
}

// New binds the address, so that one that is taken is an error here, and starts
// the broker for Dial and Publish. Serve lets the others in.
func New(o Options) (*Broker, error) {
	if o.BaseTopic == "" {
		o.BaseTopic = "hearthgate"
	}
	if o.DiscoveryPrefix == "" {
		o.DiscoveryPrefix = "homeassistant"
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.isLocal == nil {
		o.isLocal = netip.Addr.IsLoopback
	}
	b := &Broker{
		opts:        o,
		log:         o.Log,
		rules:       rules{base: o.BaseTopic, prefix: o.DiscoveryPrefix},
		server:      newServer(),
		closed:      make(chan struct{}),
		peers:       map[*peer]struct{}{},
		fromAddress: map[netip.Addr]int{},
	}
	if err := b.server.AddHook(&gatekeeper{b: b}, nil); err != nil {
		return nil, fmt.Errorf("embedded MQTT broker: %w", err)
	}
	if o.Listen != "" {
		var err error
		if b.listener, err = listen(o.Listen, o.Accounts); err != nil {
			return nil, err
		}
	}
	if err := b.server.Serve(); err != nil { // of no listeners: it starts the housekeeping
		return nil, errors.Join(fmt.Errorf("embedded MQTT broker: %w", err), b.closeListener())
	}
	return b, nil
}

func newServer() *mqtt.Server {
	return mqtt.New(&mqtt.Options{
		InlineClient: true,
		// It logs whole packets, passwords among them; the gatekeeper logs for us.
		Logger:                 slog.New(slog.DiscardHandler),
		SysTopicResendInterval: 60,
		Capabilities: &mqtt.Capabilities{
			MaximumClients:               maxClients + 16, // connections are counted at the door; these are the gateway's own
			MaximumMessageExpiryInterval: 0,               // else retained messages vanish after a day
			MaximumClientWritesPending:   maxQueued,
			MaximumSessionExpiryInterval: sessionLife,
			MaximumPacketSize:            maxOwnPacket,
			ReceiveMaximum:               1024,
			MaximumInflight:              maxUnacked,
			TopicAliasMaximum:            0, // the rules look at names
			SharedSubAvailable:           1,
			MinimumProtocolVersion:       3,
			MaximumQos:                   2,
			RetainAvailable:              1,
			WildcardSubAvailable:         1,
			SubIDAvailable:               1,
		},
	})
}

// listen binds address; its errors leave it to the caller to name the setting.
// One that the network can reach needs accounts, since it is they who keep the
// home's devices from strangers.
func listen(address string, accounts Accounts) (net.Listener, error) {
	tcp, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%q is not an address like 127.0.0.1:1883: %w", address, err)
	}
	if !tcp.IP.IsLoopback() && (accounts == nil || len(accounts.MQTTUsers()) == 0) {
		return nil, fmt.Errorf("%s can be reached from the network, but there is no MQTT account: add one with \"hearthgate mqtt user add NAME\", or listen on 127.0.0.1", address)
	}
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is taken, perhaps by another MQTT broker: set another port, or mqtt.broker to use that one: %w", address, err)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return l, nil
}

// Addr is where clients connect, or nil without Options.Listen.
func (b *Broker) Addr() net.Addr {
	if b.listener == nil {
		return nil
	}
	return b.listener.Addr()
}

// Serve accepts clients until Close, then returns nil. Without Options.Listen it
// just waits for Close.
func (b *Broker) Serve() error {
	if b.listener == nil {
		<-b.closed
		return nil
	}
	for {
		conn, err := b.listener.Accept()
		switch {
		case err == nil:
			b.admit(conn)
		case errors.Is(err, net.ErrClosed):
			return nil
		default: // no file descriptors left, for one: give others time to end
			b.say(&b.trouble, "cannot accept MQTT clients", "error", err)
			select {
			case <-b.closed:
				return nil
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

// Dial connects the gateway itself, in memory. The connection has the gateway's
// rights because it was made here; its address plays no part.
func (b *Broker) Dial() (net.Conn, error) {
	ours, theirs := pipe()
	p := newPeer(ours)
	p.role = gateway
	if !b.enter(p) {
		return nil, errors.New("the embedded MQTT broker is closed")
	}
	go b.serve(p)
	return theirs, nil
}

// Publish hands a message of the gateway to all subscribers at QoS 1, without a
// connection in between. It returns when it is in their queues, which may take a
// while if one of them is long (see pace); payload must not be changed afterwards.
func (b *Broker) Publish(topic string, retained bool, payload []byte) error {
	if topic == "" || len(topic) > maxTopic || !utf8.ValidString(topic) || strings.ContainsAny(topic, "+#\x00") {
		return fmt.Errorf("publish: %q is not a topic", topic)
	}
	return b.server.Publish(topic, payload, retained, 1)
}

// Drop ends the connections of an account, for when it is removed or its
// password changes.
func (b *Broker) Drop(account string) {
	for _, cl := range b.server.Clients.GetAll() {
		if p, ok := cl.Net.Conn.(*peer); ok && p.role == user && p.account == account {
			_ = b.server.DisconnectClient(cl, packets.ErrAdministrativeAction) // the code, not a failure
		}
	}
}

// Close ends all connections and returns when nothing of the broker runs.
func (b *Broker) Close() error {
	var err error
	b.once.Do(func() {
		close(b.closed)
		err = b.closeListener()
		b.mu.Lock()
		for p := range b.peers {
			_ = p.SetWriteDeadline(time.Now().Add(time.Second)) // for the farewell
		}
		b.mu.Unlock()
		for _, cl := range b.server.Clients.GetAll() {
			_ = b.server.DisconnectClient(cl, packets.ErrServerShuttingDown) // the code, not a failure
		}
		b.mu.Lock()
		for p := range b.peers {
			_ = p.Close() // those that had not said CONNECT yet
		}
		b.mu.Unlock()
		b.serving.Wait()
		err = errors.Join(err, b.server.Close())
	})
	return err
}

func (b *Broker) closeListener() error {
	if b.listener == nil {
		return nil
	}
	return b.listener.Close()
}

// say logs at most once a minute for each kind of event.
func (b *Broker) say(kind *seldom, message string, args ...any) {
	if held, ok := kind.allow(time.Now()); ok {
		if held > 0 {
			args = append(args, "same_before", held)
		}
		b.log.Warn(message, args...)
	}
}
