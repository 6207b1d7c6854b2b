package store

import (
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Words are the texts that repeat in the log: ids of devices, names and units of
// records. A record of the log says their numbers; the first one that uses a
// word defines it. A text that is no word is said in full, which is always
// possible.
//
// Words are never taken back, for a reader may be days behind. When there is no
// room for more an edition ends and the next begins without any; an edition is
// forgotten with the last record that was written in it.

const (
	mostWords     = 4096 // of an edition
	mostWordBytes = 128 << 10
	longestWord   = 64
	deviceWords   = 256       // that one device may bring: nobody takes all of the room
	editionLasts  = time.Hour // at least
)

var bucketWords = []byte("words")

// words of a store. The committer writes them; readers are many.
type words struct {
	// Owned by the committer.
	edition uint64            // of what is written
	begun   time.Time         // that edition
	numbers map[string]uint32 // of its words, those that are durable
	asked   map[string]uint32 // of those that the batch in hand defines
	inOrder []string          // these, from next on
	next    uint32            // number
	bytes   int
	brought map[string]int // by device
	full    bool
	unsaved []word // in the log alone

	mu       sync.RWMutex
	editions map[uint64]*edition
}

// An edition is what numbers mean to a reader. "" = it cannot be read.
type edition struct {
	first uint64 // record in which it was used first
	texts []string
}

// A word as it is kept in the bucket.
type word struct {
	edition uint64
	number  uint32
	text    string
}

func newWords() *words {
	w := &words{editions: map[uint64]*edition{}}
	w.renew(0)
	return w
}

// renew begins an edition.
func (w *words) renew(e uint64) {
	w.edition, w.begun = e, time.Now()
	w.numbers, w.asked, w.brought = map[string]uint32{}, map[string]uint32{}, map[string]int{}
	w.inOrder, w.next, w.bytes, w.full = nil, 0, 0, false
}

// begin is called before a batch is encoded. What the batch before defined and
// did not make durable is not defined.
func (w *words) begin() {
	clear(w.asked)
	w.inOrder = w.inOrder[:0]
}

// number is the one of a text that device said. Not ok: say it in full. No words
// have none.
func (w *words) number(device, text string) (n uint32, ok bool) {
	if w == nil {
		return 0, false
	}
	if n, ok = w.numbers[text]; ok {
		return n, true
	}
	if n, ok = w.asked[text]; ok {
		return n, true
	}
	if text == "" || len(text) > longestWord || w.brought[device] >= deviceWords {
		return 0, false
	}
	n = w.next + uint32(len(w.inOrder))
	if n >= mostWords || w.bytes+len(text) > mostWordBytes {
		w.full = true
		return 0, false
	}
	w.asked[text] = n
	w.inOrder = append(w.inOrder, text)
	w.brought[device]++
	w.bytes += len(text)
	return n, true
}

// durable is called when the batch is, as a record of this number.
func (w *words) durable(record uint64) {
	for _, text := range w.inOrder {
		w.numbers[text] = w.next
		w.learn(w.edition, w.next, text, record)
		w.next++
	}
	w.begin()
}

// learn takes in that a record defines a word.
func (w *words) learn(e uint64, number uint32, text string, record uint64) {
	w.unsaved = append(w.unsaved, word{e, number, text})
	w.set(e, number, text, record)
}

func (w *words) set(e uint64, number uint32, text string, record uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ed := w.editions[e]
	if ed == nil {
		ed = &edition{first: record}
		w.editions[e] = ed
	}
	for uint32(len(ed.texts)) <= number {
		ed.texts = append(ed.texts, "")
	}
	ed.texts[number] = text
}

// mention says that a record uses an edition, whatever is known of that: its
// number must not be given again.
func (w *words) mention(e, record uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.editions[e] == nil {
		w.editions[e] = &edition{first: record}
	}
}

// of is what the numbers of an edition mean. It is not changed any more up to
// its length, apart from the replay at the start.
func (w *words) of(e uint64) []string {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if ed := w.editions[e]; ed != nil {
		return ed.texts
	}
	return nil
}

// resume makes the last edition that was read the one to write in, or begins
// another when one of its words may be missing: its number must not get another
// meaning.
func (w *words) resume(damaged bool) {
	var last uint64
	for e := range w.editions {
		last = max(last, e)
	}
	if damaged {
		w.renew(last + 1)
		return
	}
	w.renew(last)
	for n, text := range w.of(last) {
		if text == "" {
			w.renew(last + 1)
			return
		}
		w.numbers[text] = uint32(n)
		w.next++
		w.bytes += len(text)
	}
}

// save hands over what the next sealing has to keep, and ends an edition that
// is full. The caller is the committer, with no batch in hand.
func (w *words) save() []word {
	all := w.unsaved
	w.unsaved = nil
	if w.full && time.Since(w.begun) >= editionLasts {
		w.renew(w.edition + 1)
	}
	return all
}

// forget drops editions before the one in which record is written.
func (w *words) forget(record uint64) (gone []uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for e, ed := range w.editions {
		if next := w.editions[e+1]; next != nil && next.first <= record && ed.first < next.first {
			gone = append(gone, e)
			delete(w.editions, e)
		}
	}
	return gone
}

func wordKey(e uint64, number uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(nil, e), number)
}

// putWords keeps words, and from which record on their editions are used.
func (w *words) put(tx *bolt.Tx, all []word) error {
	b := tx.Bucket(bucketWords)
	for _, word := range all {
		if err := b.Put(wordKey(word.edition, word.number), sealRow([]byte(word.text))); err != nil {
			return err
		}
		key := wordKey(word.edition, 0)[:8]
		if b.Get(key) != nil {
			continue
		}
		w.mu.RLock()
		var first uint64
		if ed := w.editions[word.edition]; ed != nil {
			first = ed.first
		}
		w.mu.RUnlock()
		if err := b.Put(key, sealRow(binary.BigEndian.AppendUint64(nil, first))); err != nil {
			return err
		}
	}
	return nil
}

// load reads what put wrote.
func (w *words) load(tx *bolt.Tx, damage func(what string, err error)) error {
	return tx.Bucket(bucketWords).ForEach(func(k, v []byte) error {
		v, err := unsealRow(v)
		switch {
		case len(k) == 8 && err == nil && len(v) == 8:
			w.mu.Lock()
			w.editions[binary.BigEndian.Uint64(k)] = &edition{first: binary.BigEndian.Uint64(v)}
			w.mu.Unlock()
		case len(k) == 12 && err == nil && binary.BigEndian.Uint32(k[8:]) < mostWords:
			w.set(binary.BigEndian.Uint64(k), binary.BigEndian.Uint32(k[8:]), string(v), 0)
		default:
			damage(fmt.Sprintf("word %x of the log", k), errDamaged)
			if len(k) >= 8 {
				w.mention(binary.BigEndian.Uint64(k), 0)
			}
		}
		return nil
	})
}

// drop removes the words of editions that no record uses any more.
func dropWords(tx *bolt.Tx, editions []uint64) error {
	b := tx.Bucket(bucketWords)
	for _, e := range editions {
		c := b.Cursor()
		from := wordKey(e, 0)[:8]
		var keys [][]byte
		for k, _ := c.Seek(from); len(k) >= 8 && binary.BigEndian.Uint64(k) == e; k, _ = c.Next() {
			keys = append(keys, append([]byte(nil), k...))
		}
		if err := deleteAll(b, keys); err != nil {
			return err
		}
	}
	return nil
}
