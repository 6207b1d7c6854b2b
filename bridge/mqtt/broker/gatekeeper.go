package broker

import (
	"errors"
	"time"

	"github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// gatekeeper is the broker's only hook: whatever it does not allow is forbidden.
// Its methods run on the goroutine of the client that they are about, reads by
// others (OnACLCheck for a delivery, OnPublishDropped) on the publisher's.
type gatekeeper struct {
	mqtt.HookBase
	b *Broker
}

func (*gatekeeper) ID() string { return "gatekeeper" }

func (*gatekeeper) Provides(what byte) bool {
	switch what {
	case mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnPacketRead, mqtt.OnPublish, mqtt.OnPublished,
		mqtt.OnPublishDropped, mqtt.OnQosPublish, mqtt.OnQosComplete, mqtt.OnSubscribe, mqtt.OnSubscribed,
		mqtt.OnRetainPublished, mqtt.OnPacketSent, mqtt.OnClientExpired:
		return true
	}
	return false
}

// roleOf is what the door and OnConnect found.
func roleOf(cl *mqtt.Client) role {
	if cl.Net.Inline {
		return gateway // Broker.Publish
	}
	if p, ok := cl.Net.Conn.(*peer); ok {
		return p.role
	}
	return nobody
}

// OnConnect decides who a client is and whether it may come in. The refusal is
// sent here, since the broker knows only one kind of it.
func (g *gatekeeper) OnConnect(cl *mqtt.Client, pk packets.Packet) error {
	p, ok := cl.Net.Conn.(*peer)
	if !ok {
		return packets.ErrNotAuthorized
	}
	code, why := g.decide(p, cl, pk)
	if why == "" {
		limitKeepalive(p, cl)
		return nil
	}
	p.role = nobody
	g.b.refused.Add(1)
	g.b.say(&g.b.strangers, "refused an MQTT client", "address", p.address, "client", cl.ID, "reason", why)
	if cl.Properties.ProtocolVersion < 5 && code == packets.ErrNotAuthorized {
		code = packets.ErrBadUsernameOrPassword // which the broker translates to "not authorized"; the other not at all
	}
	return errors.Join(code, g.b.server.SendConnack(cl, code, false, nil))
}

// decide sets p's role, or returns why the client stays outside.
func (g *gatekeeper) decide(p *peer, cl *mqtt.Client, pk packets.Packet) (packets.Code, string) {
	if p.role != gateway {
		if code, why := g.authenticate(p, pk.Connect); why != "" {
			return code, why
		}
	}
	if pk.Connect.WillFlag {
		if why := g.b.rules.mayWrite(p.role, pk.Connect.WillTopic, pk.Connect.WillRetain); why != "" {
			return packets.ErrNotAuthorized, "its will: " + why
		}
		if !mqtt.IsValidFilter(pk.Connect.WillTopic, true) {
			return packets.ErrNotAuthorized, "its will has no topic that can be published to"
		}
		will := packets.Packet{TopicName: pk.Connect.WillTopic, Payload: pk.Connect.WillPayload}
		if pk.Connect.WillRetain && p.role != gateway && g.tooManyRetained(will) {
			return packets.ErrQuotaExceeded, "its will: too many retained messages"
		}
	}
	if there, ok := g.b.server.Clients.Get(cl.ID); ok {
		if !mayTakeOver(p, there) {
			return packets.ErrClientIdentifierNotValid, "somebody else has this client id"
		}
	} else if p.role != gateway && g.b.server.Clients.Len() >= maxSessions {
		return packets.ErrServerUnavailable, "too many sessions are kept for clients that are away"
	}
	return packets.CodeSuccess, ""
}

// authenticate finds a client's role: with a name and password that account,
// without from this machine alone. Where the home has no accounts, this machine's
// programs may give any name: many cannot be told to give none.
func (g *gatekeeper) authenticate(p *peer, c packets.ConnectParams) (packets.Code, string) {
	accounts := g.b.opts.Accounts
	exist := accounts != nil && len(accounts.MQTTUsers()) > 0
	switch {
	case !p.network && (!c.UsernameFlag || !exist):
		p.role = local
		return packets.CodeSuccess, ""
	case !c.UsernameFlag:
		return packets.ErrNotAuthorized, "from the network only with an account (hearthgate mqtt user add)"
	case exist && accounts.CheckMQTTUser(string(c.Username), string(c.Password)):
		p.role, p.account = user, string(c.Username)
		return packets.CodeSuccess, ""
	}
	return packets.ErrBadUsernameOrPassword, "unknown account or wrong password"
}

// mayTakeOver reports whether p may continue or end the session of another
// connection with the same client id. The gateway may always; nobody else may
// push the gateway or another account out.
func mayTakeOver(p *peer, there *mqtt.Client) bool {
	if p.role == gateway {
		return !there.Net.Inline
	}
	other, ok := there.Net.Conn.(*peer)
	return ok && other.role == p.role && other.account == p.account
}

// limitKeepalive sees to it that a client that is gone is noticed: one that asks
// for no or a very long keepalive may be silent for 1.5 times maxKeepalive. MQTT 5
// clients are told; older ones cannot be, and connect again after such a silence.
func limitKeepalive(p *peer, cl *mqtt.Client) {
	if p.role != gateway && (cl.State.Keepalive == 0 || cl.State.Keepalive > maxKeepalive) {
		cl.State.Keepalive = maxKeepalive
		cl.State.ServerKeepalive = true
	}
}

// OnConnectAuthenticate confirms what OnConnect found.
func (*gatekeeper) OnConnectAuthenticate(cl *mqtt.Client, _ packets.Packet) bool {
	return roleOf(cl) != nobody
}

// OnSubscribe takes away filters that would cost the broker too much; an empty one
// is answered as invalid.
func (g *gatekeeper) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	room := maxSubscriptions - cl.State.Subscriptions.Len()
	for i, sub := range pk.Filters {
		_, had := cl.State.Subscriptions.Get(sub.Filter)
		if !had {
			room--
		}
		if !reasonable(sub.Filter) || !had && room < 0 {
			g.b.denied.Add(1)
			g.b.say(&g.b.denials, "an MQTT client subscribes to too much", "client", cl.ID, "filter_bytes", len(sub.Filter))
			pk.Filters[i].Filter = ""
		}
	}
	return pk
}

// OnACLCheck is asked about each subscription and each delivery. For a publish it
// lets through who has a role: OnPublish looks at it next and, unlike here, can
// refuse a message without ending the connection.
func (g *gatekeeper) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	who := roleOf(cl)
	if write {
		return who != nobody
	}
	if g.b.rules.mayRead(who, topic) {
		if !g.mayHold(cl) {
			g.b.say(&g.b.slow, "an MQTT client acknowledges too little and loses messages", "client", cl.ID, "topic", topic)
			return false
		}
		if p, ok := cl.Net.Conn.(*peer); ok {
			g.b.deliver(p)
		}
		return true
	}
	g.b.denied.Add(1)
	g.b.say(&g.b.denials, "an MQTT client may not read this", "client", cl.ID, "topic", topic)
	return false
}

// OnPacketRead ends a client that sends more than its share; ErrRejectPacket is
// the one error that the broker takes as an end.
func (*gatekeeper) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if pk.FixedHeader.Remaining > maxPacket && roleOf(cl) != gateway {
		return pk, packets.ErrRejectPacket
	}
	return pk, nil
}

// OnPublish refuses what the rules forbid. MQTT 3.1.1 has no word for it: the
// message is acknowledged and goes nowhere, as with other brokers. MQTT 5 has one,
// which the broker can send at QoS 1.
func (g *gatekeeper) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	why := g.b.rules.mayWrite(roleOf(cl), pk.TopicName, pk.FixedHeader.Retain)
	if why == "" && pk.FixedHeader.Retain && roleOf(cl) != gateway && g.tooManyRetained(pk) {
		why = "too many retained messages"
	}
	if why == "" {
		return pk, nil
	}
	g.b.denied.Add(1)
	g.b.say(&g.b.denials, "refused an MQTT message", "client", cl.ID, "topic", pk.TopicName, "reason", why)
	if cl.Properties.ProtocolVersion == 5 && pk.FixedHeader.Qos == 1 {
		return pk, packets.ErrNotAuthorized
	}
	return pk, packets.CodeSuccessIgnore
}

// tooManyRetained counts what others than the gateway retain, and says whether
// there is no room for pk. It runs on the publishers' goroutines.
func (g *gatekeeper) tooManyRetained(pk packets.Packet) bool {
	kept := g.b.server.Topics.Retained
	g.b.mu.Lock()
	defer g.b.mu.Unlock()
	old, replaces := kept.Get(pk.TopicName)
	grows := len(pk.Payload) - len(old.Payload)
	if grows > 0 && g.b.retainedBytes+grows > maxRetainedBytes {
		g.recount()
	}
	if grows > 0 && g.b.retainedBytes+grows > maxRetainedBytes || !replaces && grows > 0 && kept.Len() >= maxRetained {
		return true
	}
	g.b.retainedBytes += grows
	return false
}

// recount rights the count of bytes: what two publish to one topic at the same
// moment is counted twice. At most once a second; b.mu is held.
func (g *gatekeeper) recount() {
	if now := time.Now(); now.Sub(g.b.recounted) > time.Second {
		g.b.recounted, g.b.retainedBytes = now, 0
		for topic, pk := range g.b.server.Topics.Retained.GetAll() {
			if g.b.rules.mayWrite(local, topic, true) == "" {
				g.b.retainedBytes += len(pk.Payload)
			}
		}
	}
}

// OnPublishDropped says that a client is too slow. State topics are retained, so
// it can catch up; the broker's own count is in Stats.
func (g *gatekeeper) OnPublishDropped(cl *mqtt.Client, pk packets.Packet) {
	if p, ok := cl.Net.Conn.(*peer); ok {
		p.pace.offered.Add(-1)
	}
	g.b.say(&g.b.slow, "an MQTT client is too slow and loses messages", "client", cl.ID, "topic", pk.TopicName)
}

// OnClientExpired forgets the subscriptions of a session that nobody came back to;
// the broker itself would keep them.
func (g *gatekeeper) OnClientExpired(cl *mqtt.Client) {
	g.b.server.UnsubscribeClient(cl)
}
