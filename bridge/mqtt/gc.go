package mqtt

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/hearthgate/hearthgate/protocol"
)

// The list of owned topics keeps the broker clean by itself. What it cannot know
// is what was left by a data directory that is gone, by a version without the
// list, or below a base topic or prefix that was given up while the broker was
// away. Collect looks for that.

// Collect finds retained topics on the broker that are this gateway's and that it
// does not own: below base topics that its id stands on, and in discovery messages
// and Homie devices that carry its id, whatever their prefix. It empties them unless dry. Topics of
// other gateways, and below a base topic that another one uses, are left alone.
// The bridge must be connected; it goes on meanwhile.
func (b *Bridge) Collect(ctx context.Context, dry bool) (topics []string, err error) {
	if s := b.Status(); !s.Connected {
		return nil, fmt.Errorf("the bridge is not connected to the broker (%s)", s.Err)
	}
	c, err := b.collector(ctx)
	if err != nil {
		return nil, fmt.Errorf("look at the broker's retained topics: %w", err)
	}
	defer c.client.Disconnect(250)
	all, err := c.retained(ctx)
	if err != nil {
		return nil, fmt.Errorf("look at the broker's retained topics: %w", err)
	}
	if topics, err = b.left(all); err != nil || dry {
		return topics, err
	}
	for i, topic := range topics {
		if err := c.wait(ctx, c.client.Publish(topic, 1, true, []byte{})); err != nil {
			return topics[:i], fmt.Errorf("empty %s: %w", topic, err)
		}
		b.o.Log.Info("emptied a topic that was left behind", "topic", topic)
	}
	return topics, nil
}

// retainedTopic is what the broker keeps of one topic. Payloads are kept of
// bridge/info alone.
type retainedTopic struct {
	topic   string
	payload []byte
}

// left are those of all that are this gateway's but not owned, in order.
func (b *Bridge) left(all []retainedTopic) ([]string, error) {
	owned := map[string]bool{}
	for _, what := range []string{"state", "epoch", "info", "health"} {
		owned[b.topics.bridge(what)] = true
	}
	for _, list := range []*ownedTopics{b.owned, b.homie.owned} {
		err := list.table.Each(func(_ string, of belongings) error {
			for topic := range of.Topics {
				owned[topic] = true
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	bases := []string{b.topics.base}
	for _, r := range all {
		if base, ok := strings.CutSuffix(r.topic, "/bridge/info"); ok && b.isOurs(r.payload) {
			bases = append(bases, base)
		}
	}
	var left []string
	for _, r := range all {
		isBelow := func(base string) bool { return ours(base, r.topic) }
		if !owned[r.topic] && (b.announces(r.topic) || b.homie.names.Ours(r.topic) || slices.ContainsFunc(bases, isBelow)) {
			left = append(left, r.topic)
		}
	}
	slices.Sort(left)
	return left, nil
}

func (b *Bridge) isOurs(info []byte) bool {
	var i bridgeInfo
	return json.Unmarshal(info, &i) == nil && i.Gateway == b.names.Gateway
}

// ours reports whether a topic is one that a gateway retains below its base.
func ours(base, topic string) bool {
	rest, below := strings.CutPrefix(topic, base+"/")
	level := strings.Split(rest, "/")
	switch {
	case !below || len(level) < 2:
		return false
	case level[0] == "bridge":
		return len(level) == 2
	case level[0] != "device" || !protocol.ValidDeviceID(level[1]):
		return false
	}
	switch level[len(level)-1] {
	case "info", "availability", "lifecycle", "state":
		return len(level) >= 3 && len(level) <= 5
	}
	return false
}

// announces reports whether a topic is discovery with this gateway's id in it:
// <prefix>/device/hg_<id>_<device>/config, <prefix>/<platform>/hg_<id>_…/<key>/config.
func (b *Bridge) announces(topic string) bool {
	node := "hg_" + b.names.Gateway
	level := strings.Split(topic, "/")
	n := len(level)
	if n < 4 || level[n-1] != "config" {
		return false
	}
	is := func(s string) bool { return s == node || strings.HasPrefix(s, node+"_") }
	return is(level[n-2]) && level[n-3] == "device" || n > 4 && is(level[n-3])
}

// collector is a connection of its own for a look at everything.
type collector struct {
	client paho.Client
	mark   string // a topic: see retained
	found  chan retainedTopic
	lost   chan error
}

// maxRetained bounds what a look may find: a broker that the house shares can
// have more than ours.
const maxRetained = 200_000

func (b *Bridge) collector(ctx context.Context) (*collector, error) {
	o, err := b.clientOptions("hg_" + b.names.Gateway + "_gc")
	if err != nil {
		return nil, err
	}
	c := &collector{mark: b.topics.bridge("gc"), found: make(chan retainedTopic, 256), lost: make(chan error, 1)}
	o.SetConnectionLostHandler(func(_ paho.Client, err error) { c.lost <- err })
	o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) {
		r := retainedTopic{topic: m.Topic()}
		if strings.HasSuffix(r.topic, "/bridge/info") || r.topic == c.mark {
			r.payload = m.Payload()
		}
		if m.Retained() || r.topic == c.mark {
			select {
			case c.found <- r:
			case <-ctx.Done():
			}
		}
	})
	c.client = paho.NewClient(o)
	if err := c.wait(ctx, c.client.Connect()); err != nil {
		return nil, b.named(err)
	}
	return c, nil
}

// retained is every retained topic of the broker. What is retained comes before a
// mark that is published once the subscription stands.
func (c *collector) retained(ctx context.Context) (all []retainedTopic, err error) {
	mark := []byte(rand.Text())
	end := make(chan error, 1)
	go func() {
		err := c.wait(ctx, c.client.Subscribe("#", 0, nil))
		if err == nil {
			err = c.wait(ctx, c.client.Publish(c.mark, 1, false, mark))
		}
		end <- err
	}()
	for {
		select {
		case r := <-c.found:
			switch {
			case string(r.payload) == string(mark):
				return all, nil
			case len(all) == maxRetained:
				return nil, fmt.Errorf("the broker keeps more than %d topics", maxRetained)
			case r.topic != c.mark:
				all = append(all, r)
			}
		case err := <-end:
			if err != nil {
				return nil, err
			}
			end = nil
		case err := <-c.lost:
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// collectPatience is how long the broker may take for one answer.
const collectPatience = 30 * time.Second

func (c *collector) wait(ctx context.Context, t paho.Token) error {
	select {
	case <-t.Done():
		return t.Error()
	case <-time.After(collectPatience):
		return errStalled
	case <-ctx.Done():
		return ctx.Err()
	}
}
