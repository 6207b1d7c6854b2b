package store

// What was committed is shown, to those who read the log and those who ask for
// newest values: as a rule what is durable (publish), while the disk takes nothing
// what is in memory.

// showEntries lets readers see the entries of items, up to head. The caller holds
// tails.
func (s *Store) showEntries(items []item, head Position) {
	news := false
	for i := range items {
		if e := items[i].e; e != nil {
			s.tails.recent.add(e)
			news = true
		}
	}
	s.tails.head = max(s.tails.head, head)
	if news {
		close(s.tails.news)
		s.tails.news = make(chan struct{})
	}
}

// showNewest makes the values of the batch in hand the newest ones. A value that
// was shown from memory stays until the log has one that is as new.
func (s *Store) showNewest() {
	s.values.Lock()
	defer s.values.Unlock()
	for _, c := range s.committer.batch.cells {
		if c.ahead && c.newest.supersedes(c.staged.Time, c.staged.Received) {
			continue
		}
		c.newest, c.shown, c.ahead = c.staged, true, false
	}
}

// showInMemory makes the values of e the newest ones, without touching what is
// known of the log.
func (s *Store) showInMemory(d *device, e *Entry) {
	for i := range e.Records {
		r := &e.Records[i]
		if r.Unfit || r.Late {
			continue
		}
		c := s.cell(d, r.Name)
		if c.shown && c.newest.supersedes(r.Time, e.Received) {
			r.Late = true
			continue
		}
		s.values.Lock()
		c.staged.Name = r.Name
		c.newest, c.shown, c.ahead = Newest{Name: r.Name, Value: r.Value, Time: r.Time, Received: e.Received}, true, true
		s.values.Unlock()
	}
}

// skipTo is where a reader goes on that found nothing from pos up to after: what
// was only in memory may be gone from there at the front. A log that is closed has
// nothing, which means nothing.
func (s *Store) skipTo(pos, after Position) (Position, error) {
	s.tails.RLock()
	defer s.tails.RUnlock()
	if s.tails.closed {
		return pos, ErrClosed
	}
	if first, ok := s.tails.recent.first(); ok && first > pos {
		return min(after, first), nil
	}
	return after, nil
}
