package hass

// diagnostics are what every device has for nothing: what the gateway knows of
// it anyway. They stay available when the device is gone: then they are looked
// at. Their keys begin like those of no component.
func (b *describer) diagnostics() {
	info, life := b.Base+"/device/"+b.d.ID+"/info", b.Base+"/device/"+b.d.ID+"/lifecycle"
	if b.d.Firmware != "" {
		// The gateway knows of no newer one. Home Assistant shows no version at
		// all of one of which the latest is not known.
		b.diagnostic("firmware", "update", "Firmware", func(o *object) {
			o.text("device_class", "firmware").text("state_topic", info)
			o.text("value_template", "{{ {'installed_version': value_json.firmware, 'latest_version': value_json.firmware} | tojson }}")
		})
	}
	b.diagnostic("last_seen", "sensor", "Last seen", func(o *object) {
		o.text("device_class", "timestamp").text("state_topic", life)
		o.text("value_template", "{% if value_json.state == 'online' %}{{ now() }}{% elif value_json.seen is defined %}{{ (value_json.seen / 1000) | as_datetime }}"+
			"{% elif value_json.state in ('sleeping', 'lost') %}{{ (value_json.since / 1000) | as_datetime }}{% else %}None{% endif %}")
		o.bool("enabled_by_default", false) // changes all the time
	})
	b.diagnostic("restarts", "sensor", "Restarts", func(o *object) {
		o.text("state_class", "total_increasing").text("state_topic", life).text("value_template", "{{ value_json.restarts | default(0) }}")
	})
	b.diagnostic("gaps", "sensor", "Data gaps", func(o *object) {
		o.text("state_class", "total_increasing").text("state_topic", life).text("value_template", "{{ value_json.gaps | default(0) }}")
	})
}

func (b *describer) diagnostic(key, platform, name string, more func(*object)) {
	e := entity{key: "__" + key, platform: platform, alone: true}
	e.body.text("unique_id", b.node(b.d.ID)+"_"+e.key)
	e.body.text("default_entity_id", platform+"."+slug(b.d.ID+"_"+key))
	e.body.text("name", name)
	more(&e.body)
	e.body.text("entity_category", "diagnostic")
	e.body.raw("availability", []byte("["+b.gatewayAvailable()+"]"))
	b.add(e)
}
