package store

import (
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/hearthgate/hearthgate/store/history"
	bolt "go.etcd.io/bbolt"
)

// What a card lasts, as a plain assumption: the common 32 GB card of a Pi, whose
// cells bear 1,000 erasures, and that writes 10 bytes for each that is handed to
// the file system, in the system's journal and in whole erase blocks.
const (
	cardBytes         = 32e9
	cardErasures      = 1000
	cardAmplification = 10
)

// A rate is told once so much time was watched.
const wearWatched = time.Hour

// wearEvery is how often the counters are written down, with a commit that
// happens anyway.
const wearEvery = time.Minute

// Where they are.
const (
	wearTable = "wear"
	wearKey   = "counters"
)

// Wear is what the store costs the disk, and where it stands. Today begins at
// midnight of the gateway's clock; all of it survives a restart.
type Wear struct {
	BytesToday   uint64  // handed to the log's files and the database
	SyncsToday   uint64  // of both
	CommitsToday uint64  //
	SamplesToday uint64  // records of committed entries
	BytesEver    uint64  // since the store was made
	PerSample    float64 // bytes, of today and yesterday, without new segments of the log
	GBYear       float64 // likewise, at that rate; 0 = watched for too short a time
	LifeYears    float64 // of a 32 GB card of 1,000 erasures at that rate; 0 likewise

	Position  uint64    // of the last entry
	FreePages int       // of the database, to be used before it grows
	OldestRaw time.Time // the day of the oldest samples; zero = there are none yet
}

// counts are what is added up.
type counts struct {
	Bytes   uint64 `cbor:"1,keyasint,omitempty"`
	Syncs   uint64 `cbor:"2,keyasint,omitempty"`
	Commits uint64 `cbor:"3,keyasint,omitempty"`
	Samples uint64 `cbor:"4,keyasint,omitempty"`
	Watched uint64 `cbor:"5,keyasint,omitempty"` // ms
	Once    uint64 `cbor:"6,keyasint,omitempty"` // of Bytes, what new segments cost: not to be reckoned with again
}

func (c *counts) add(o counts) {
	c.Bytes += o.Bytes
	c.Syncs += o.Syncs
	c.Commits += o.Commits
	c.Samples += o.Samples
	c.Watched += o.Watched
	c.Once += o.Once
}

func (c counts) less(o counts) counts {
	return counts{c.Bytes - o.Bytes, c.Syncs - o.Syncs, c.Commits - o.Commits, c.Samples - o.Samples, c.Watched - o.Watched, c.Once - o.Once}
}

// wearRow is what is written down.
type wearRow struct {
	Day       string `cbor:"1,keyasint"` // of Today, as 2006-01-02
	Today     counts `cbor:"2,keyasint"`
	Yesterday counts `cbor:"3,keyasint"` // the day before that was watched
	Ever      counts `cbor:"4,keyasint"`
}

// wear is guarded by Store.mu.
type wear struct {
	row     wearRow
	started time.Time
	counted counts // since the start, that row has
	saved   time.Time
	commits uint64 // then
}

// loadWear takes the counters up where the last run left them.
func (s *Store) loadWear() {
	w := &s.wear
	w.started = time.Now()
	w.saved = w.started
	if row, ok := s.table(wearTable).rows[wearKey]; ok {
		if err := cbor.Unmarshal(row, &w.row); err != nil {
			w.row = wearRow{}
		}
	}
}

// countWear brings the counters up to now. The caller holds mu.
func (s *Store) countWear(now time.Time) {
	w := &s.wear
	since := counts{
		Bytes: s.file.written.Load(), Syncs: s.file.syncs.Load(),
		Commits: s.health.Commits, Samples: s.health.Samples, Watched: uint64(now.Sub(w.started).Milliseconds()),
	}
	st := s.journal.Stats()
	since.Bytes += st.Written
	since.Syncs += st.Writes
	since.Once = st.Made
	news := since.less(w.counted)
	w.counted = since
	if day := now.Format(time.DateOnly); day != w.row.Day {
		w.row.Day, w.row.Yesterday, w.row.Today = day, w.row.Today, counts{}
	}
	w.row.Today.add(news)
	w.row.Ever.add(news)
}

// saveWear puts the counters into a batch that has something else, or into the
// last one if there were others since. The caller is the committer and holds mu.
func (s *Store) saveWear(now time.Time, closing bool) {
	w, b := &s.wear, &s.committer.batch
	switch {
	case closing && s.health.Commits > w.commits:
	case len(b.items) == 0 || now.Sub(w.saved) < wearEvery:
		return
	}
	s.countWear(now)
	if row, err := tableMode.Marshal(w.row); err == nil {
		w.saved, w.commits = now, s.health.Commits
		b.items = append(b.items, item{table: s.table(wearTable), key: wearKey, value: row})
	}
}

// Wear of the disk up to now.
func (s *Store) Wear() Wear {
	free := s.file.freePages()
	var oldest time.Time
	_ = s.file.view(func(tx *bolt.Tx) error {
		oldest = history.Measure(tx).Oldest
		return nil
	})
	head := s.Head()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.countWear(time.Now())
	row := s.wear.row
	w := Wear{
		BytesToday: row.Today.Bytes, SyncsToday: row.Today.Syncs,
		CommitsToday: row.Today.Commits, SamplesToday: row.Today.Samples,
		BytesEver: row.Ever.Bytes, Position: uint64(head), FreePages: free, OldestRaw: oldest,
	}
	both := row.Yesterday
	both.add(row.Today)
	lasting := float64(both.Bytes - both.Once)
	if both.Samples > 0 {
		w.PerSample = lasting / float64(both.Samples)
	}
	if watched := time.Duration(both.Watched) * time.Millisecond; watched >= wearWatched && lasting > 0 {
		year := lasting / watched.Hours() * 24 * 365
		w.GBYear = year / 1e9
		w.LifeYears = cardBytes * cardErasures / cardAmplification / year
	}
	return w
}

// count notes what a transaction costs when it is durable: the pages that it
// changed and, after a sync, the one that makes them count, with another.
func (f *file) count(tx *bolt.Tx) {
	tx.OnCommit(func() {
		st := tx.Stats()
		f.written.Add(uint64(st.GetPageAlloc()) + uint64(f.options.PageSize))
		f.syncs.Add(2)
	})
}

// freePages are those of the database that the next transactions may use.
func (f *file) freePages() int {
	if !f.mu.TryRLock() {
		return 0 // it is being replaced
	}
	defer f.mu.RUnlock()
	if f.db == nil {
		return 0
	}
	st := f.db.Stats()
	return st.FreePageN + st.PendingPageN
}
