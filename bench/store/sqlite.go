package main

import (
	"bufio"
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"time"
)

// recorder is what Home Assistant's recorder makes of an SQLite file.
//
//go:embed recorder.sql
var recorder string

// A sqlite is Home Assistant's recorder, played by Debian's sqlite3.
type sqlite struct {
	process *process
	in      *bufio.Writer
	out     *bufio.Scanner
	commit  time.Time // the next
	rows    int
	newest  [deviceCount][]int // state_id of each series
}

// recorderCommit is the recorder's commit_interval.
const recorderCommit = 5 * time.Second

func startSQLite(b *bench, name string, d *disk) (keeper, error) {
	cmd := exec.Command("sqlite3", "-batch", "-bail", filepath.Join(d.dir, "home-assistant_v2.db"))
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	read, write := io.Pipe()
	cmd.Stdout = write
	p, err := b.startProcess(name, cmd)
	if err != nil {
		return nil, err
	}
	p.input = in
	go func() {
		<-p.ended
		write.Close()
	}()
	s := &sqlite{process: p, in: bufio.NewWriter(in), out: bufio.NewScanner(read)}
	fmt.Fprintln(s.in, recorder)
	id := 0
	for device := range s.newest {
		s.newest[device] = make([]int, len(seriesOf(device)))
		for _, c := range seriesOf(device) {
			id++
			fmt.Fprintf(s.in, "INSERT INTO states_meta VALUES (%d, 'sensor.%s_%s');\n", id, deviceName(device), c.name)
			fmt.Fprintf(s.in, "INSERT INTO state_attributes VALUES (%d, %d, '{\"state_class\":\"measurement\",\"unit_of_measurement\":\"%s\",\"device_class\":\"%s\",\"friendly_name\":\"%s %s\"}');\n",
				id, id*2654435761%(1<<32), c.unit, c.class, deviceName(device), c.name)
		}
	}
	return s, s.end()
}

// take adds a row for each value, in a transaction that ends every 5 s. (The
// recorder itself leaves out values that are as before; here all are kept, as
// by the others.)
func (s *sqlite) take(at time.Time, device int, values []float64) error {
	if at.After(s.commit) {
		if err := s.end(); err != nil {
			return err
		}
		s.commit = at.Add(recorderCommit)
	}
	for i, c := range seriesOf(device) {
		s.rows++
		old := "NULL"
		if n := s.newest[device][i]; n > 0 {
			old = fmt.Sprint(n)
		}
		s.newest[device][i] = s.rows
		series := device*len(values) + i + 1
		fmt.Fprintf(s.in, "INSERT INTO states (state, last_updated_ts, old_state_id, attributes_id, origin_idx, context_id_bin, metadata_id) VALUES ('%s', %.7f, %s, %d, 0, x'%s', %d);\n",
			c.number(values[i]), float64(at.UnixNano())/1e9, old, series, ulid(at), series)
	}
	return nil
}

// ulid is the id of a context: 48 bits of time, 80 of chance.
func ulid(at time.Time) string {
	var id [16]byte
	rand.Read(id[6:])
	for i, ms := 5, at.UnixMilli(); i >= 0; i, ms = i-1, ms>>8 {
		id[i] = byte(ms)
	}
	return hex.EncodeToString(id[:])
}

// end commits, waits for it, and begins the next transaction.
func (s *sqlite) end() error {
	fmt.Fprintln(s.in, "COMMIT; SELECT 'committed ' || count(*) FROM (SELECT 1 FROM states ORDER BY state_id DESC LIMIT 1); BEGIN;")
	if err := s.in.Flush(); err != nil {
		return err
	}
	for s.out.Scan() {
		if len(s.out.Text()) > 9 && s.out.Text()[:9] == "committed" {
			return nil
		}
	}
	return fmt.Errorf("sqlite3 ended: %s", s.process.words())
}

func (s *sqlite) finish() (int, error) { return s.rows, s.end() }

func (s *sqlite) server() *process { return s.process }
