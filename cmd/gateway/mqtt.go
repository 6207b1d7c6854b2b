package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/hearthgate/hearthgate/bridge/mqtt"
	"github.com/hearthgate/hearthgate/bridge/mqtt/broker"
)

// openMQTT makes the bridge, and the embedded broker unless another is named.
func (g *gateway) openMQTT() (err error) {
	o := mqtt.Options{
		Store: g.store, Registry: g.registry, Commands: g.commands, Log: g.log,
		BaseTopic: g.cfg.MQTTBaseTopic, Version: versionText(),
		Discovery: g.cfg.MQTTDiscovery, DiscoveryPrefix: g.cfg.MQTTDiscoveryPrefix,
		Homie: g.cfg.MQTTHomie, HomiePrefix: g.cfg.MQTTHomiePrefix,
		Broker: g.cfg.MQTTBroker, User: g.cfg.MQTTUser, Password: g.cfg.MQTTPassword,
		CAFile: g.cfg.MQTTCA, CertFile: g.cfg.MQTTCert, KeyFile: g.cfg.MQTTKey,
	}
	if idle := g.cfg.unusedMQTT(); idle != "" {
		g.log.Warn("nothing looks at the settings of another broker, since mqtt.broker is not set", "settings", idle)
	}
	switch {
	case g.cfg.MQTTBroker != "":
	case g.cfg.MQTTListen != "":
		homie := ""
		if g.cfg.MQTTHomie {
			homie = g.cfg.MQTTHomiePrefix
		}
		g.broker, err = broker.New(broker.Options{
			Listen: g.cfg.MQTTListen, BaseTopic: g.cfg.MQTTBaseTopic, DiscoveryPrefix: g.cfg.MQTTDiscoveryPrefix, HomiePrefix: homie,
			Accounts: g.registry, Log: g.log,
		})
		if err != nil {
			return fmt.Errorf("mqtt.listen: %w", err)
		}
		o.Embedded = g.broker
	default:
		g.log.Warn("mqtt.listen and mqtt.broker are empty: nothing is published and no command comes by MQTT")
		return nil
	}
	g.bridge, err = mqtt.New(o)
	return err
}

// withoutPassword is the URL as it may be shown.
func withoutPassword(broker string) string {
	u, err := url.Parse(broker)
	if err != nil {
		return "(not a URL)"
	}
	return u.Redacted()
}

// runMQTT starts the broker and the bridge. A bridge that ends by itself is a
// failure of the gateway: nobody would hear of devices any more.
func (g *gateway) runMQTT(ctx context.Context, failed chan<- error) {
	if g.broker != nil {
		g.last.Go(func() { // until close, so that the bridge can say farewell
			if err := g.broker.Serve(); err != nil {
				failed <- fmt.Errorf("mqtt.listen: %w", err)
			}
		})
	}
	if g.bridge == nil {
		return
	}
	g.wait.Go(func() {
		if err := g.bridge.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			failed <- fmt.Errorf("mqtt: %w", err)
		}
	})
}

// collect is web.Options.Collect.
func (g *gateway) collect(ctx context.Context, dry bool) ([]string, error) {
	if g.bridge == nil {
		return nil, errors.New("there is no MQTT: mqtt.listen and mqtt.broker are empty")
	}
	return g.bridge.Collect(ctx, dry)
}
