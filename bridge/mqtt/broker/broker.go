// Package broker is the MQTT broker inside the gateway, for homes that have none:
// MQTT 3.1, 3.1.1 and 5. Whatever its rules do not allow is forbidden; acl.go holds
// them. Nothing is kept on disk: what has to last is the gateway's log, and the
// bridge publishes it again after a start.
//
// A message goes one way: Publish or a connection's reader (handle.go) gives it to
// the exchange, which keeps it if it is retained, knows from earlier messages who
// subscribes to the topic (tree.go finds it out) and puts it into their sessions'
// queues; each connection's writer (conn.go) takes what has gathered there. Commands
// also go to the gateway, on the goroutine that read them (commands.go).
package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Limits on what one client, or all together, can make the gateway hold. They are
// far above what a home needs.
const (
	maxClients          = 256                // connections, the gateway's own aside
	maxNetworkClients   = maxClients * 3 / 4 // so that this machine's own always find room
	maxPerAddress       = 32                 // connections from one address of the network
	maxSessions         = 2 * maxClients     // connected ones and those that may come back
	sessionLife         = 24 * 60 * 60       // s: how long one that is away is kept
	maxConnect          = 64 << 10           // bytes: CONNECT with its will
	maxPacket           = 128 << 10          // bytes: any later packet of a client
	maxOwnPacket        = 256 << 10          // bytes: a packet of the gateway (large discoveries)
	maxQueued           = 8 << 10            // messages that wait for one client
	maxQueuedBytes      = 16 << 20           // of those and of what it has not acknowledged
	maxAllQueued        = 64 << 20           // bytes that all clients' queues hold; beyond it each may have less:
	hereQueuedBytes     = 4 << 20            // one that is connected
	awayQueuedBytes     = 1 << 20            // one that is away
	maxCrowded          = 96 << 20           // beyond it who is away and has the most waiting loses its session, and
	crowdedBytes        = 256 << 10          // any may have no more than this
	maxUnacked          = 1 << 10            // messages under way to one client, a power of 2
	maxSubscriptions    = 8 << 10            // of one client
	maxAllSubscriptions = 64 << 10
	maxShared           = 64 // of those of one client, the shared ones: each group is a delivery of its own
	maxAllShared        = 1 << 10
	maxClientID         = 1 << 10          // bytes
	maxRetained         = 64 << 10         // retained messages of others, all together
	maxRetainedBytes    = 16 << 20         // of them
	maxPassing          = 16 << 10         // topics remembered that are not retained
	maxKeepalive        = 600              // s
	connectTimeout      = 10 * time.Second // until CONNECT is complete
	writeTimeout        = 10 * time.Second // until a client has taken a packet
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
	HomiePrefix     string // "" means that the gateway does not speak Homie

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
	listener net.Listener // nil without Options.Listen
	began    time.Time
	closed   chan struct{}

	once    sync.Once
	serving sync.WaitGroup // one for each connection

	counters
	queued  atomic.Int64            // bytes that all sessions hold
	laggard atomic.Pointer[session] // whose queue is long, for the next who publishes

	exchange exchange
	commands commands
	guesses  guesses

	mu          sync.Mutex // with no other; guards what follows
	peers       map[*peer]struct{}
	network     int                // of peers, those from the network
	fromAddress map[netip.Addr]int // of those, by address
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
		rules:       rules{base: o.BaseTopic, prefix: o.DiscoveryPrefix, homie: o.HomiePrefix},
		began:       time.Now(),
		exchange:    newExchange(),
		closed:      make(chan struct{}),
		peers:       map[*peer]struct{}{},
		fromAddress: map[netip.Addr]int{},
	}
	if o.Listen != "" {
		var err error
		if b.listener, err = listen(o.Listen, o.Accounts); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// now is the broker's clock, which no change of the time of day moves.
func (b *Broker) now() time.Duration { return time.Since(b.began) }

func (b *Broker) isClosed() bool {
	select {
	case <-b.closed:
		return true
	default:
		return false
	}
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
// while if one of them is long (see pace). The payload is copied.
func (b *Broker) Publish(topic string, retained bool, payload []byte) error {
	if err := b.publish(topic, &message{payload: payload, qos: 1, retain: retained}); err != nil {
		return err
	}
	b.holdBack()
	return nil
}

// PublishNow is Publish for one message that somebody waits for. It does not block:
// where Publish might have to wait, ok is false and nothing was published.
func (b *Broker) PublishNow(topic string, payload []byte) (ok bool) {
	if b.laggard.Load() != nil {
		return false
	}
	var few [4]*conn // to others their writers write
	m := message{payload: payload, qos: 1, writers: few[:0]}
	err := b.publish(topic, &m)
	for _, c := range m.writers {
		c.writeNow()
	}
	return err == nil
}

func (b *Broker) publish(topic string, m *message) error {
	if len(topic) > maxTopic {
		return fmt.Errorf("publish: a topic of %d bytes, more than %d", len(topic), maxTopic)
	}
	var name [maxTopic]byte
	if t, _, _ := b.accept(append(name[:0], topic...), m, nil, gateway); t == nil {
		return fmt.Errorf("publish: %q is not a topic", topic)
	}
	return nil
}

// Drop ends the connections of an account, for when it is removed or its
// password changes.
func (b *Broker) Drop(account string) {
	x := &b.exchange
	x.mu.Lock()
	defer x.mu.Unlock()
	x.drops++
	for _, s := range x.sessions {
		if s.conn != nil && s.owner == (owner{user, account}) {
			s.conn.endNow(administrative)
		}
	}
}

// Close ends all connections and returns when nothing of the broker runs.
func (b *Broker) Close() error {
	var err error
	b.once.Do(func() {
		close(b.closed)
		err = b.closeListener()
		b.endAll()
		b.serving.Wait()
		b.exchange.mu.Lock()
		defer b.exchange.mu.Unlock()
		for _, s := range b.exchange.sessions {
			b.exchange.discard(s)
		}
	})
	return err
}

// endAll says farewell to those with a session and hangs up on the others.
func (b *Broker) endAll() {
	b.exchange.mu.Lock()
	clients := map[*peer]bool{}
	for _, s := range b.exchange.sessions {
		if s.conn != nil {
			s.conn.endNow(shuttingDown)
			clients[s.conn.peer] = true
		}
	}
	b.exchange.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	for p := range b.peers {
		if !clients[p] {
			_ = p.Close()
		}
	}
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
