package store

// Table is a small durable map of what another package keeps, one CBOR value a
// key, all in memory as well. Values are copied in and out by their encoding.
type Table[T any] struct{ unwritten }

// OpenTable opens the table called name.
func OpenTable[T any](s *Store, name string) (*Table[T], error) { panic("not written yet") }

// Each calls f for every key in order.
func (t *Table[T]) Each(f func(key string, v T) error) error { panic("not written yet") }

// Get is the value of a key.
func (t *Table[T]) Get(key string) (v T, ok bool, err error) { panic("not written yet") }

// Put sets a key. It is visible at once; done (may be nil) is called as
// Waiter.Committed is. Order with Append is kept.
func (t *Table[T]) Put(key string, v T, u Urgency, done func(error)) error { panic("not written yet") }

// Delete removes a key; as Put.
func (t *Table[T]) Delete(key string, u Urgency, done func(error)) error { panic("not written yet") }

// PutSync is Put that waits for the sync. DeleteSync likewise.
func (t *Table[T]) PutSync(key string, v T) error { panic("not written yet") }

// DeleteSync is Delete that waits for the sync.
func (t *Table[T]) DeleteSync(key string) error { panic("not written yet") }
