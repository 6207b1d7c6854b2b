package store

// What is not sealed is read again at the start, a record at a time.

// replayRecord brings everything up to date with a record.
func (s *Store) replayRecord(number uint64, payload []byte) error {
	c := &s.committer
	rr := recordReader{mean: s.words.of}
	at := newStretch()
	err := rr.each(payload, func(p *part) error {
		switch p.kind {
		case partEntries:
			for _, e := range p.entries {
				s.replayEntry(e)
				at.see(e)
			}
		case partRow:
			s.table(p.name).rows[p.key] = append([]byte(nil), p.value...)
		case partNoRow:
			delete(s.table(p.name).rows, p.key)
		case partCursor:
			s.cursors[p.name] = &cursor{name: p.name, pos: p.pos, durable: p.pos}
		case partNoCursor:
			delete(s.cursors, p.name)
		case partForgotten:
			delete(s.devices, p.name)
			c.unforgotten = append(c.unforgotten, p.name)
		case partBoots:
			d := s.device(p.name)
			d.changed = true
			d.boots = d.boots[:0]
			for _, b := range p.boots {
				d.boots = append(d.boots, &b)
			}
		case partWords:
			for i, text := range p.texts {
				s.words.learn(p.edition, p.number+uint32(i), text, number)
			}
		}
		return nil
	})
	if err == nil && rr.missing > 0 {
		err = errWord
	}
	if err != nil {
		s.recordDamaged(number, err)
	}
	s.words.mention(rr.edition, number)
	c.next = max(c.next, rr.end)
	c.unsealed += int64(len(payload))
	if rr.end > rr.pos {
		at.first, at.last, at.end, at.bytes = number, number, rr.end, len(payload)
		s.tails.unsealed.add(at)
	}
	return nil
}

// replayEntry brings a device up to date with an entry of the log.
func (s *Store) replayEntry(e *Entry) {
	if e.Device == "" {
		return
	}
	d := s.device(e.Device)
	for _, c := range s.stageEntry(d, e, nil) {
		c.newest, c.shown = c.staged, true
	}
	if e.Kind == Presence {
		p := e.Presence
		d.presence = &p
	}
	if e.Seq > 0 && (e.Kind == Telemetry || e.Kind == Refused) {
		b := d.boot(e.Boot)
		if b == nil {
			b = d.name(e.Boot)
		}
		seq := max(b.last, e.Seq)
		b.last, b.durable, b.staged = seq, seq, seq
	}
}
