package mqtt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"sync"
	"syscall"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// Why a link ends.
var (
	errLost     = errors.New("the connection to the broker was lost")
	errStalled  = errors.New("the broker stopped acknowledging")
	errConflict = errors.New("another gateway publishes on our base topic")
	errSkipped  = errors.New("the broker refused the message twice")
	errNotSent  = errors.New("the link ended before the message was sent")
)

// link is one connection to the broker, from CONNECT to its end. paho does not
// reconnect by itself: a token of one that does can finish without an error
// although no PUBACK ever came. Each connection has a client of its own, and
// what is not confirmed on it counts as not sent.
type link struct {
	// set at birth
	client   paho.Client
	refusals *refusals
	patience time.Duration
	direct   Embedded // the broker, if it is in this process
	skipped  func(message)
	ctx      context.Context // ends with the link; its cause says why
	end      context.CancelCauseFunc

	window  chan struct{} // a place for each message in flight
	alone   sync.Mutex    // held by who takes all places; only that one may hold some while it waits for more
	flights chan flight   // in the order of sending
	done    chan struct{} // the confirmer has ended

	mu        sync.Mutex // guards what follows
	echo      echo
	peer      bool      // the broker hung up
	acked     bool      // it has confirmed something
	undecided []message // in flight at the end
}

// flight is a message that was sent and waits for its PUBACK.
type flight struct {
	token  paho.Token
	m      message
	places int
	done   func(error)
}

// windowSize is how many messages may be in flight. Brokers have limits of
// their own (mosquitto: 20 towards each client, thousands from one).
const windowSize = 64

// caller is who a link is for: the bridge, or its Homie side.
type caller struct {
	id       string // of the client
	will     message
	refusals *refusals
	received func(*link, paho.Message) // called by paho's reader; must not block
}

func (b *Bridge) caller() caller {
	will := message{b.topics.bridge("state"), []byte("offline"), true}
	return caller{b.clientID, will, &b.refusals, b.received}
}

// connect makes a link.
func (b *Bridge) connect(ctx context.Context, who caller) (*link, error) {
	l := &link{
		refusals: who.refusals, patience: b.patience, direct: b.o.Embedded, skipped: b.skip,
		echo: echo{news: make(chan struct{}, 1)}, window: make(chan struct{}, windowSize), flights: make(chan flight, windowSize), done: make(chan struct{}),
	}
	o, err := b.clientOptions(who.id)
	if err != nil {
		return nil, err // the files may be put right while we run
	}
	l.ctx, l.end = context.WithCancelCause(ctx)
	if who.will.topic != "" {
		o.SetBinaryWill(who.will.topic, who.will.payload, 1, who.will.retained)
	}
	// The only handler, and there before the first message can come.
	o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { who.received(l, m) })
	o.SetConnectionLostHandler(func(_ paho.Client, err error) { l.lost(err) })
	l.client = paho.NewClient(o)
	t := l.client.Connect()
	select {
	case <-t.Done():
	case <-ctx.Done():
		go func() { // Connect ends by its own timeouts
			<-t.Done()
			l.client.Disconnect(0)
		}()
		l.end(ctx.Err())
		return nil, ctx.Err()
	}
	if err := t.Error(); err != nil {
		err = b.named(err)
		l.end(err)
		return nil, err
	}
	go l.confirm()
	return l, nil
}

// clientOptions are those of every connection to the broker.
func (b *Bridge) clientOptions(id string) (*paho.ClientOptions, error) {
	tlsConfig, err := b.o.tlsConfig(b.broker)
	if err != nil {
		return nil, err
	}
	o := paho.NewClientOptions()
	o.AddBroker(b.broker.String())
	o.SetClientID(id).SetUsername(b.o.User).SetPassword(b.o.Password)
	o.SetProtocolVersion(4).SetCleanSession(true).SetAutoReconnect(false).SetConnectRetry(false).SetOrderMatters(true)
	o.SetKeepAlive(20 * time.Second).SetPingTimeout(5 * time.Second).SetWriteTimeout(5 * time.Second).SetConnectTimeout(10 * time.Second)
	o.SetTLSConfig(tlsConfig)
	if b.o.Embedded != nil {
		o.SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) { return b.o.Embedded.Dial() })
	} else {
		o.SetDialer(&net.Dialer{Timeout: 10 * time.Second})
	}
	return o, nil
}

// named says which settings a refusal is about. MQTT 3.1.1 §3.2.2.3: 4 is a wrong
// name or password, 5 is not authorized; brokers use the one for the other.
func (b *Bridge) named(err error) error {
	switch {
	case !errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword) && !errors.Is(err, packets.ErrorRefusedNotAuthorised):
		return err
	case b.o.User == "":
		return fmt.Errorf("the broker wants an account; set mqtt.user and mqtt.password: %w", err)
	}
	return fmt.Errorf("the broker does not let in mqtt.user %q with this mqtt.password: %w", b.o.User, err)
}

// lost is called when paho noticed the end.
func (l *link) lost(err error) {
	l.mu.Lock()
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrClosedPipe) {
		l.peer = true
	}
	l.mu.Unlock()
	l.end(fmt.Errorf("%w: %w", errLost, err))
}

// publish sends m and calls done once, from another goroutine or this one: nil
// when the broker confirmed it on this link. It waits while the window is full.
// The payload must stay as it is until done.
func (l *link) publish(m message, done func(error)) {
	suspect, skip := l.refusals.verdict(&m)
	if skip {
		l.skipped(m)
		done(errSkipped)
		return
	}
	if l.direct != nil {
		err := l.direct.Publish(m.topic, m.retained, m.payload)
		if err != nil {
			l.end(err)
		}
		done(err)
		return
	}
	places := 1
	if suspect {
		places = windowSize
		l.alone.Lock()
		defer l.alone.Unlock()
	}
	if !l.take(places) {
		done(errNotSent)
		return
	}
	t := l.client.Publish(m.topic, 1, m.retained, m.payload)
	l.flights <- flight{t, m, places, done}
}

// publishNow sends m if the broker is in this process and takes it at once, and so
// confirms it. It does not block.
func (l *link) publishNow(m message) bool {
	if l.direct == nil || m.retained || l.ctx.Err() != nil {
		return false
	}
	if suspect, _ := l.refusals.verdict(&m); suspect {
		return false
	}
	return l.direct.PublishNow(m.topic, m.payload)
}

// take waits for places in the window; false when the link ended meanwhile.
func (l *link) take(places int) bool {
	for n := range places {
		select {
		case l.window <- struct{}{}:
		case <-l.ctx.Done():
			l.give(n)
			return false
		}
	}
	if l.ctx.Err() != nil {
		l.give(places)
		return false
	}
	return true
}

func (l *link) give(places int) {
	for range places {
		<-l.window
	}
}

// confirm takes what is in flight, in order, as the broker confirms it
// (MQTT 3.1.1 §4.6), until close.
func (l *link) confirm() {
	defer close(l.done)
	timer := time.NewTimer(l.patience)
	defer timer.Stop()
	for f := range l.flights {
		err := l.wait(f.token, timer)
		l.mu.Lock()
		if err == nil {
			l.acked = true
		} else {
			l.undecided = append(l.undecided, f.m)
		}
		l.mu.Unlock()
		if err == nil {
			l.refusals.confirmed(&f.m)
		}
		l.give(f.places)
		f.done(err)
	}
}

func (l *link) wait(t paho.Token, timer *time.Timer) error {
	select {
	case <-t.Done():
	default:
		timer.Reset(l.patience)
		select {
		case <-t.Done():
		case <-l.ctx.Done():
		case <-timer.C:
			l.end(errStalled)
		}
	}
	switch {
	case l.ctx.Err() != nil:
		return errLost // whatever the token says
	case t.Error() != nil:
		l.end(t.Error())
		return errLost
	}
	return nil
}

// publishAll sends all and waits until each is confirmed. A message without a
// topic is left out. Messages that were refused twice count as confirmed.
func (l *link) publishAll(ms []message) error {
	var all sync.WaitGroup
	var mu sync.Mutex
	var failed error
	done := func(err error) {
		if err != nil && err != errSkipped {
			mu.Lock()
			failed = err
			mu.Unlock()
		}
		all.Done()
	}
	for _, m := range ms {
		if m.topic == "" {
			continue
		}
		all.Add(1)
		l.publish(m, done)
	}
	all.Wait()
	return failed
}

// subscribe asks for the topics and returns those that the broker refused.
func (l *link) subscribe(topics ...string) (refused []string, err error) {
	if len(topics) == 0 {
		return nil, nil // as with the embedded broker and no discovery
	}
	filters := map[string]byte{}
	for _, t := range topics {
		filters[t] = 1
	}
	t := l.client.SubscribeMultiple(filters, nil)
	select {
	case <-t.Done():
	case <-l.ctx.Done():
		return nil, context.Cause(l.ctx)
	case <-time.After(l.patience):
		l.end(errStalled)
		return nil, errStalled
	}
	if t.Error() != nil {
		return nil, t.Error()
	}
	for topic, code := range t.(*paho.SubscribeToken).Result() {
		if code > 2 {
			refused = append(refused, topic)
		}
	}
	return refused, nil
}

// close ends the link. Nobody may publish any more. With a clean end the
// broker does not send the will.
func (l *link) close() {
	close(l.flights)
	l.end(errLost)
	<-l.done
	l.client.Disconnect(250)
	l.mu.Lock()
	peer, acked, undecided := l.peer, l.acked, l.undecided
	l.mu.Unlock()
	if peer && acked {
		l.refusals.hungUp(undecided)
	}
}
