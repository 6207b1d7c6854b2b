package mqtt

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/hearthgate/hearthgate/bridge/mqtt/hass"
	"github.com/hearthgate/hearthgate/command"
	"github.com/hearthgate/hearthgate/registry"
)

// inbound is a message on a topic that takes commands, from another broker.
type inbound struct {
	link     *link
	topic    string
	payload  []byte
	retained bool
}

// maxInbound is how many commands may wait to be parsed; beyond it they are
// answered with busy as far as the queue of results goes.
const maxInbound = 1024

// received is called by paho's reader for each message. It never blocks.
func (b *Bridge) received(l *link, m paho.Message) {
	switch topic := m.Topic(); topic {
	case b.topics.bridge("epoch"), b.topics.bridge("info"), b.topics.bridge("state"):
		b.readBack(l, topic, m.Payload(), m.Retained())
	case b.names.StatusTopic():
		if string(m.Payload()) == "online" && !m.Retained() {
			b.homeAssistantBorn()
		}
	default:
		in := inbound{l, topic, m.Payload(), m.Retained()}
		select {
		case b.inbound <- in:
		default:
			b.overflow(in)
		}
	}
}

// overflow answers a command for which there is no room.
func (b *Bridge) overflow(in inbound) {
	to, ok := b.topics.target(in.topic)
	if !ok || len(in.payload) == 0 {
		return
	}
	b.refuse(to, in.payload, command.Busy, errTooMany)
}

// takeCommands hands commands over, one after another and so in order for each
// device. Submit does not block, so one goroutine is enough.
func (b *Bridge) takeCommands(ctx context.Context) {
	clearing := map[string]int{} // retained messages that we emptied, of which the echo has not come
	var last *link
	for {
		select {
		case in := <-b.inbound:
			if in.link != last {
				last = in.link
				clear(clearing) // an echo does not cross connections
			}
			b.takeInbound(in, clearing)
		case <-ctx.Done():
			return
		}
	}
}

// takeInbound looks for what the retain flag means and hands the rest over.
func (b *Bridge) takeInbound(in inbound, clearing map[string]int) {
	if len(in.payload) == 0 && clearing[in.topic] > 0 {
		if clearing[in.topic]--; clearing[in.topic] == 0 {
			delete(clearing, in.topic)
		}
		return
	}
	if !in.retained {
		b.takeCommand(in.topic, in.payload)
		return
	}
	to, ok := b.topics.target(in.topic)
	if !ok {
		return
	}
	clearing[in.topic]++
	b.clearRetained(in, to)
	b.refuse(to, in.payload, command.Invalid, errRetained)
}

var errTooMany = errors.New("too many commands at once")

var (
	errRetained   = errors.New("refused: it was published with the retain flag and would be carried out again at each connection; it was cleared from the broker")
	errRetainFlag = errors.New("refused: a command must be published without the retain flag, else it would be carried out again at each connection")
)

// takeCommand takes what was published on a topic, whichever way it came. It does
// not block and keeps nothing of payload: the embedded broker calls it on the
// goroutine that read the message from its sender.
func (b *Bridge) takeCommand(topic string, payload []byte) {
	to, ok := b.topics.target(topic)
	if !ok {
		b.o.Log.Debug("command on a topic that cannot be one", "topic", topic)
		return
	}
	var err error
	switch to.many.what {
	case "group":
		err = b.takeForGroup(to.many, payload)
	case "scene":
		err = b.takeForScene(to.many, payload)
	default:
		err = b.takeForDevice(to, payload)
	}
	if err != nil {
		b.refuse(to, payload, command.Invalid, err)
	}
}

func (b *Bridge) takeForDevice(to target, payload []byte) error {
	r, err := parseCommand(to, b.isLight(to), payload)
	if err == nil {
		r.Asker = askerName
		b.o.Commands.Submit(r, nil)
	}
	return err
}

func (b *Bridge) takeForGroup(to many, payload []byte) error {
	r, err := parseGroupCommand(to, payload)
	if err == nil {
		r.Asker = askerName
		b.o.Commands.SubmitGroup(r, nil)
	}
	return err
}

func (b *Bridge) takeForScene(to many, payload []byte) error {
	r, err := parseSceneCommand(to, payload)
	if err == nil {
		r.Asker = askerName
		b.o.Commands.SubmitScene(r, nil)
	}
	return err
}

// refuse gives what was asked for its outcome here and now.
func (b *Bridge) refuse(to target, payload []byte, o command.Outcome, why error) {
	res := command.Result{Device: to.device, Outcome: o, Message: why.Error()}
	switch to.many.what {
	case "group":
		r, _ := parseGroupCommand(to.many, payload)
		res.ID, res.Set, res.Via = r.ID, r.Set, to.many.via()
	case "scene":
		r, _ := parseSceneCommand(to.many, payload)
		res.ID, res.Via = r.ID, to.many.via()
	default:
		r, _ := parseCommand(to, b.isLight(to), payload)
		res.ID, res.Set = r.ID, command.Understood(b.o.Registry.Description(to.device), r.Set)
		b.o.Registry.Note(to.device, registry.AboutCommand, "refused as "+string(o)+": "+res.Message)
	}
	b.results.Done(res, nil)
}

// takeDirectly lets take have what is published at the embedded broker, if that is
// ours; with nil nobody has it, and no command is under way here any more.
func (b *Bridge) takeDirectly(take func(topic string, payload []byte, refused bool)) {
	if b.o.Embedded != nil {
		b.o.Embedded.OnCommand(take)
	}
}

// takeHandedOver is takeCommand for what the embedded broker hands over, and the answer
// to what it refused.
func (b *Bridge) takeHandedOver(topic string, payload []byte, refused bool) {
	if b.homie.takes(topic) {
		b.homie.takeSet(topic, payload, refused)
	} else if !refused {
		b.takeCommand(topic, payload)
	} else if to, ok := b.topics.target(topic); ok {
		b.refuse(to, payload, command.Invalid, errRetainFlag)
	}
}

func (b *Bridge) isLight(to target) bool {
	d := b.o.Registry.Description(to.device)
	if d == nil || to.name == "" {
		return false
	}
	for i := range d.Components {
		if d.Components[i].ID == to.name {
			return hass.JSONLight(&d.Components[i])
		}
	}
	return false
}

// clearRetained empties the topic, so that the command is refused once and not
// again at each connection, and says so.
func (b *Bridge) clearRetained(in inbound, to target) {
	b.o.Log.Warn("refused a retained command and cleared it", "topic", in.topic)
	b.results.push(message{topic: in.topic, retained: true}, nil)
	b.event(bridgeEvent{Type: "retained_command", Device: to.device, Topic: in.topic,
		Message: "a command with the retain flag was refused and cleared"})
}

// homeAssistantBorn plans to send everything that Home Assistant needs again.
// It needs a moment to subscribe, and many gateways should not answer at once.
func (b *Bridge) homeAssistantBorn() {
	wait := b.birthDelay + rand.N(4*b.birthDelay+1)
	b.mu.Lock()
	if b.birth.IsZero() {
		b.birth = time.Now().Add(wait)
	}
	b.mu.Unlock()
	b.poke()
}

// readBack takes what the broker has of us, or of another gateway.
func (b *Bridge) readBack(l *link, topic string, payload []byte, retained bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch topic {
	case b.topics.bridge("epoch"):
		l.echo.epoch, l.echo.gotEpoch = string(payload), true
	case b.topics.bridge("state"):
		l.echo.state = string(payload)
		if l.echo.online && !retained && l.echo.state == "offline" {
			b.poke() // the will of a dead connection of ours came late: say again that we are there
		}
	case b.topics.bridge("info"):
		var info bridgeInfo
		if json.Unmarshal(payload, &info) == nil {
			l.echo.gateway = info.Gateway
		}
		if l.echo.online && l.echo.gateway != "" && l.echo.gateway != b.names.Gateway {
			l.end(errConflict)
		}
	}
	select {
	case l.echo.news <- struct{}{}:
	default:
	}
}

// echo is what the broker gave back on our own topics.
type echo struct {
	news     chan struct{}
	epoch    string
	gotEpoch bool
	state    string
	gateway  string
	online   bool // we said that we are
}

// foreign reports whether another gateway is alive on our base topic.
func (e *echo) foreign(gateway string) bool {
	return e.gateway != "" && e.gateway != gateway && e.state == "online"
}
