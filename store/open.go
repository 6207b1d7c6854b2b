package store

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hearthgate/hearthgate/store/history"
	"github.com/hearthgate/hearthgate/store/segment"
	bolt "go.etcd.io/bbolt"
)

// fileFormat is the version of what is in the file: 2 brought the log's files, 3
// history instead of blocks.
const fileFormat = 3

// logBudget is how much of the log is kept for readers.
const logBudget = segment.DefaultBudget

var (
	keyFormat  = []byte("format")
	keyGateway = []byte("gateway")
	keyEpoch   = []byte("epoch")
	keyLog     = []byte("log")
)

// Open opens or makes the store in o.Dir. After a power cut it cuts a torn
// tail; damage is set aside, logged, and never stops the start.
func Open(o Options) (*Store, error) { return newStore(o).open() }

func (s *Store) open() (*Store, error) {
	if err := s.openStopped(); err != nil {
		return nil, err
	}
	s.start()
	return s, nil
}

// openStopped is open without its goroutines.
func (s *Store) openStopped() error {
	if err := makeDir(s.dir); err != nil {
		return err
	}
	held, err := lock(s.dir)
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	s.held = held
	if err := s.openAll(); err != nil {
		_ = s.file.close()
		_ = held.Close()
		return fmt.Errorf("open store %s: %w", s.file.path, err)
	}
	return nil
}

func (s *Store) start() {
	s.memory.alarm = time.AfterFunc(tooFar, s.stirMemory)
	go s.run()
	go s.runMemory()
	go s.runSealer()
}

// openAll opens the database first, then what the log's files have beyond it.
func (s *Store) openAll() error {
	if err := s.openFile(); err != nil {
		return err
	}
	c := &s.committer
	err := s.openLog()
	if err != nil && s.place == InBolt && corrupt(err) {
		if err = s.beginAnew(err); err == nil {
			c.unsealed, c.unforgotten = 0, nil
			err = s.openLog()
		}
	}
	if err != nil {
		return err
	}
	for _, cu := range s.cursors { // a damaged end must not give a position twice
		c.next = max(c.next, cu.pos+1)
	}
	c.last = c.next - 1
	s.tails.head, s.tails.durable = c.last, c.last
	if c.unsealed > 0 {
		c.sealedSince = time.Now().Add(-sealAfter) // at once
	}
	s.settleLog()
	s.loadWear()
	return nil
}

func newStore(o Options) *Store {
	s := &Store{
		dir: o.Dir, commit: o.Commit, retain: retainOf(o), logIn: o.LogIn, log: o.Log, words: newWords(),
		fs: segment.Dir(o.Dir), segmentSize: segment.DefaultSize, sealBytes: sealBytes, sealAtOnce: sealAtOnce, mostUnsealed: mostUnsealed, sealsAtClose: sealsAtClose, logBudget: logBudget,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
		cursors: map[string]*cursor{}, devices: map[string]*device{}, tables: map[string]*table{},
		health: Health{Healthy: true},
		seal:   sealer{asked: make(chan *sealing, 1), stop: make(chan struct{}), done: make(chan struct{})},
	}
	if s.commit < 0 {
		s.commit = time.Second
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.committer.words = s.words
	s.tails.news = make(chan struct{})
	s.memory.init()
	if o.FS != nil {
		s.fs = o.FS
	}
	if o.Budget > 0 {
		s.logBudget, s.mostUnsealed = o.Budget, min(mostUnsealed, o.Budget/4*3)
		s.segmentSize, s.sealBytes = min(segment.DefaultSize, o.Budget/8), min(sealBytes, o.Budget/8)
	}
	s.file = &file{path: filepath.Join(s.dir, "gateway.db"), options: boltOptions(), log: s.log}
	return s
}

// openFile opens the file, or begins a new one when there is none or when the
// one that is there cannot be read.
func (s *Store) openFile() error {
	f := s.file
	if _, err := os.Stat(f.path); errors.Is(err, os.ErrNotExist) {
		if err := s.orphan(time.Now()); err != nil {
			return err
		}
		if err := f.create(func(tx *bolt.Tx) error { return s.initFile(tx, 0) }); err != nil {
			return fmt.Errorf("make the file: %w", err)
		}
	}
	err := f.open()
	if err == nil {
		err = s.mendMeta()
	}
	if err == nil {
		err = s.upgrade()
	}
	if err == nil {
		err = s.load()
	}
	if why, rerr := os.ReadFile(filepath.Join(s.dir, condemned)); err == nil && rerr == nil {
		err = fmt.Errorf("%w: %s", errCorrupt, strings.TrimSpace(string(why)))
	}
	if err == nil || !corrupt(err) {
		return err
	}
	return s.beginAnew(err)
}

// beginAnew puts a new file in the place of one that cannot be read, with what can be
// read of that. Until the new one is whole the old one keeps its name, and a note says
// that it is not to be used: a start that is cut off here is begun again by the next.
func (s *Store) beginAnew(why error) error {
	f := s.file
	if err := f.close(); err != nil {
		s.log.Warn("close the damaged file", "error", err)
	}
	if err := s.note(why); err != nil {
		return errors.Join(why, fmt.Errorf("note that it is to be set aside: %w", err))
	}
	saved := rescue(f.path)
	fill := func(tx *bolt.Tx) error { return errors.Join(s.initFile(tx, saved.log), saved.put(tx)) }
	aside, err := f.replace(fill, s.salvage, time.Now())
	if err != nil {
		return errors.Join(why, fmt.Errorf("make a new file: %w", err))
	}
	s.log.Error("THE STORE COULD NOT BE READ: it was set aside and a new one begun with what can be read of it; a backup may have more",
		"error", why, "set aside as", aside, "devices and settings rescued", saved.values)
	f.damaged.Add(1)
	if err := os.Remove(filepath.Join(s.dir, condemned)); err != nil {
		s.log.Warn("a note about the damaged store stays", "error", err)
	}
	if err := f.open(); err != nil {
		return err
	}
	return s.load()
}

// IsLogFile reports whether a file of this name in a data directory is of the log.
func IsLogFile(name string) bool { return segment.IsName(name) }

// orphan puts the log's files out of the way when somebody took their database:
// what they hold is not a whole.
func (s *Store) orphan(now time.Time) error {
	names, err := s.fs.List()
	for _, name := range names {
		if segment.IsName(name) {
			err = errors.Join(err, s.fs.Rename(name, name+".orphan-"+now.UTC().Format("20060102T150405.000")))
		}
	}
	return err
}

// initFile fills a new file. If there are files of a log, their database could
// not be read, and what they hold goes on in the new one; likely is the epoch that
// it seemed to have.
func (s *Store) initFile(tx *bolt.Tx, likely uint64) error {
	logEpoch, ok := segment.Epoch(s.fs, likely)
	if !ok {
		logEpoch = newLogEpoch()
	}
	if err := createBuckets(tx); err != nil {
		return err
	}
	place := s.logIn
	if ok {
		place = Files
	}
	meta := tx.Bucket(bucketMeta)
	return errors.Join(
		meta.Put(keyFormat, []byte{fileFormat}),
		meta.Put(keyGateway, []byte(newGatewayID())),
		meta.Put(keyEpoch, []byte(newEpoch())),
		putLogEpoch(tx, logEpoch),
		putPlace(tx, place),
		putSealed(tx, 0, 0))
}

// createBuckets makes those that are not there.
func createBuckets(tx *bolt.Tx) error {
	for _, name := range ourBuckets {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return history.Create(tx)
}

func retainOf(o Options) history.Keep {
	span := func(d, otherwise time.Duration) time.Duration {
		switch {
		case d == 0:
			return otherwise
		case d < 0:
			return 0
		}
		return d
	}
	return history.Keep{Raw: max(0, o.Retain), FiveMinutes: span(o.Rows.FiveMinutes, year), Hours: span(o.Rows.Hours, 5*year), Days: span(o.Rows.Days, 0)}
}

func newLogEpoch() uint64 {
	var b [8]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint64(b[:])
}

func putLogEpoch(tx *bolt.Tx, epoch uint64) error {
	return errors.Join(tx.Bucket(bucketMeta).Put(keyLog, binary.BigEndian.AppendUint64(nil, epoch)), putCopy(tx))
}

func newEpoch() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

const letters = "abcdefghijklmnopqrstuvwxyz0123456789"

func isGatewayID(id string) bool { return len(id) == 8 && strings.Trim(id, letters) == "" }

// newGatewayID is 8 random characters of [a-z0-9].
func newGatewayID() string {
	id := make([]byte, 0, 8)
	for len(id) < cap(id) {
		var b [1]byte
		rand.Read(b[:])
		if int(b[0]) < 256-256%len(letters) { // the rest would favour the first letters
			id = append(id, letters[int(b[0])%len(letters)])
		}
	}
	return string(id)
}

// load reads into memory what is kept there.
func (s *Store) load() error {
	clear(s.devices)
	clear(s.cursors)
	clear(s.tables)
	return s.file.view(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		for _, name := range ourBuckets {
			if tx.Bucket(name) == nil {
				return fmt.Errorf("%w: bucket %s is missing", errCorrupt, name)
			}
		}
		if v := meta.Get(keyLog); len(v) == 8 {
			s.logEpoch = binary.BigEndian.Uint64(v)
		}
		s.id, s.epoch = string(meta.Get(keyGateway)), string(meta.Get(keyEpoch))
		s.place = Files
		if v := meta.Get(keyPlace); len(v) == 1 && LogIn(v[0]) == InBolt {
			s.place = InBolt
		}
		if err := s.loadDevices(tx); err != nil {
			return err
		}
		if err := s.loadCursors(tx); err != nil {
			return err
		}
		if err := s.loadTables(tx); err != nil {
			return err
		}
		if err := s.words.load(tx, s.file.damage); err != nil {
			return err
		}
		return s.loadSealed(tx)
	})
}

func (s *Store) loadDevices(tx *bolt.Tx) error {
	return tx.Bucket(bucketDevices).ForEach(func(k, v []byte) error {
		d, err := decodeDevice(string(k), v)
		if err != nil {
			s.file.damage("the state of device "+string(k), err)
			return nil
		}
		s.devices[d.id] = d
		return nil
	})
}

func (s *Store) loadCursors(tx *bolt.Tx) error {
	return tx.Bucket(bucketCursors).ForEach(func(k, v []byte) error {
		if len(v) != 8 {
			s.file.damage("cursor "+string(k), errDamaged)
			return nil
		}
		s.cursors[string(k)] = &cursor{name: string(k), pos: keyPosition(v), durable: keyPosition(v)}
		return nil
	})
}

// loadSealed finds out how far the log has been sealed.
func (s *Store) loadSealed(tx *bolt.Tx) error {
	pos, record, err := getSealed(tx)
	if err != nil {
		return err
	}
	s.seal.pos, s.seal.record, s.seal.read = pos, record, record
	s.seal.end = getEnd(tx)
	s.seal.keep.ages.last = getClock(tx)
	s.committer.next = pos + 1
	s.committer.sealedSince = time.Now()
	s.tails.sealed, s.tails.unsealed = pos, nil
	return nil
}

// Close commits what waits, saves the cursors and closes the file.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.queue.closing {
		s.mu.Unlock()
		<-s.memory.done
		return nil
	}
	s.queue.closing = true
	s.mu.Unlock()
	s.signal()
	answered := s.awaitCommitter()
	s.memory.alarm.Stop()
	close(s.memory.stop)
	<-s.memory.done

	sealed := make(chan struct{})
	if answered {
		go func() {
			defer close(sealed)
			s.sealAtTheEnd(!s.committer.gaveUp)
		}()
		answered = within(closeWait, sealed)
	} else {
		s.stopSealer()
	}
	s.tails.Lock()
	s.tails.closed = true
	close(s.tails.news)
	s.tails.news = make(chan struct{})
	s.tails.Unlock()
	if !answered { // the files and the lock stay with the goroutine that waits for the disk
		return errors.New("close store: the disk does not answer; what was not acknowledged is lost")
	}
	var err error
	if h := s.Health(); !h.Healthy {
		err = fmt.Errorf("close store: the last commit failed: %s", h.Err)
	}
	return errors.Join(err, s.journal.Close(), s.file.close(), s.held.Close())
}
