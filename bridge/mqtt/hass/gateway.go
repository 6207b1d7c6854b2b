package hass

import "github.com/hearthgate/hearthgate/registry"

// Itself is the gateway, with what belongs to the home and to no device.
func (n Names) Itself(scenes ...registry.Scene) Thing {
	t := Thing{names: n, node: n.gatewayNode(), entities: n.gatewayEntities()}
	for _, s := range scenes {
		t.entities = append(t.entities, n.scene(s))
	}
	t.device = (&object{}).list("identifiers", []string{t.node}).text("name", "Hearthgate").text("manufacturer", "Hearthgate").
		text("model", "Gateway").text("sw_version", n.Version).end()
	t.availability.raw("availability", []byte("["+n.gatewayAvailable()+"]"))
	return t
}

// gatewayEntities are how the gateway is. What changes every minute is hidden
// until someone asks for it.
func (n Names) gatewayEntities() (es []entity) {
	entity := func(key, platform, name string, more func(*object)) {
		e := entity{key: key, platform: platform}
		// Keys of the gateway have no '_': hg_<g>_<d>_<c> is never hg_<g>_<key>.
		e.body.text("unique_id", n.gatewayNode()+"_"+key)
		e.body.text("default_entity_id", platform+".hearthgate_"+n.Gateway+"_"+slug(key))
		e.body.text("name", name)
		more(&e.body)
		e.body.text("entity_category", "diagnostic")
		es = append(es, e)
	}
	info := func(template string) func(*object) {
		return func(o *object) { o.text("state_topic", n.Base+"/bridge/info").text("value_template", template) }
	}
	health := func(o *object, template string) {
		o.text("state_topic", n.Base+"/bridge/health").text("value_template", template)
	}
	entity("connection", "binary_sensor", "Connection", func(o *object) {
		o.text("device_class", "connectivity").text("state_topic", n.Base+"/bridge/state").text("payload_on", "online").text("payload_off", "offline")
	})
	entity("version", "sensor", "Version", info("{{ value_json.version }}"))
	entity("update", "update", "Firmware", func(o *object) {
		o.text("device_class", "firmware")
		info("{{ {'installed_version': value_json.version, 'latest_version': value_json.version} | tojson }}")(o)
	})
	entity("storage", "binary_sensor", "Storage", func(o *object) {
		o.text("device_class", "problem")
		health(o, "{{ 'OFF' if value_json.ok else 'ON' }}")
	})
	entity("devices-online", "sensor", "Devices online", func(o *object) {
		o.text("state_class", "measurement")
		health(o, "{{ value_json.online }}")
	})
	entity("uptime", "sensor", "Uptime", func(o *object) {
		o.text("device_class", "duration").text("unit_of_measurement", "s")
		health(o, "{{ value_json.uptime }}")
		o.bool("enabled_by_default", false)
	})
	entity("lag", "sensor", "Entries waiting for MQTT", func(o *object) {
		o.text("state_class", "measurement")
		health(o, "{{ value_json.lag | default(0) }}")
	})
	entity("storage-used", "sensor", "Storage used", func(o *object) {
		o.text("device_class", "data_size").text("state_class", "measurement").text("unit_of_measurement", "B")
		health(o, "{{ value_json.storage_bytes }}")
	})
	entity("written-today", "sensor", "Written today", func(o *object) {
		o.text("device_class", "data_size").text("state_class", "total_increasing").text("unit_of_measurement", "B")
		health(o, "{{ value_json.written_today | default(0) }}")
		o.bool("enabled_by_default", false)
	})
	entity("card-life", "sensor", "Life of a 32 GB card", func(o *object) {
		o.text("unit_of_measurement", "years").text("icon", "mdi:sd")
		health(o, "{{ value_json.card_years | default('None') }}")
	})
	return es
}

// scene is an entity that starts it. Its key has a prefix, so that no scene is
// taken for one of the gateway's own.
func (n Names) scene(s registry.Scene) entity {
	e := entity{key: "scene-" + s.ID, platform: "scene"}
	e.body.text("unique_id", n.gatewayNode()+"_"+e.key)
	e.body.text("default_entity_id", "scene."+slug(s.ID))
	e.body.text("name", s.Name)
	e.body.text("command_topic", n.Base+"/scene/"+s.ID+"/set")
	e.reliably()
	return e
}
