package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hearthgate/hearthgate/client"
	"github.com/hearthgate/hearthgate/protocol"
)

// table is a data set: a time and a cell for each column in every row.
type table struct {
	columns []column
	rows    []row
}

type column struct {
	name string
	text bool // some cell of it is no number
}

type row struct {
	at    int64 // s since 1970
	cells []string
}

var columnName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,31}$`)

// readTable reads a CSV file: a header of unix_s and the components' names,
// then rows in the order of time. An empty cell is no value.
func readTable(file string) (*table, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("--csv: %w", err)
	}
	defer f.Close()
	t, err := parseTable(f)
	if err != nil {
		return nil, fmt.Errorf("--csv %s: %w", file, err)
	}
	return t, nil
}

func parseTable(r io.Reader) (*table, error) {
	c := csv.NewReader(r)
	c.ReuseRecord = true
	header, err := c.Read()
	if err == io.EOF {
		return nil, errors.New("it is empty")
	} else if err != nil {
		return nil, err
	}
	if len(header) < 2 || strings.TrimPrefix(header[0], "\ufeff") != "unix_s" {
		return nil, fmt.Errorf("line 1: want the header unix_s and then a name for each column, not %q", strings.Join(header, ","))
	}
	t := &table{}
	seen := map[string]bool{}
	for _, name := range header[1:] {
		if !columnName.MatchString(name) || seen[name] {
			return nil, fmt.Errorf("line 1: column %q: want names of a-z, 0-9, _ and -, at most 32 characters, each once", name)
		}
		seen[name] = true
		t.columns = append(t.columns, column{name: name})
	}
	for {
		cells, err := c.Read()
		if err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		if err := t.add(cells); err != nil {
			line, _ := c.FieldPos(0)
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
	}
	if len(t.rows) == 0 {
		return nil, errors.New("it has a header and no rows")
	}
	return t, nil
}

func (t *table) add(cells []string) error {
	at, err := strconv.ParseInt(cells[0], 10, 64)
	if err != nil {
		return fmt.Errorf("unix_s: want whole seconds since 1970, not %q", cells[0])
	}
	if n := len(t.rows); n > 0 && at < t.rows[n-1].at {
		return fmt.Errorf("unix_s: %d is before the row above", at)
	}
	r := row{at: at}
	for i, cell := range cells[1:] {
		if cell != "" {
			if f, err := strconv.ParseFloat(cell, 64); err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
				t.columns[i].text = true
			}
		}
		r.cells = append(r.cells, cell)
	}
	t.rows = append(t.rows, r)
	return nil
}

// describe is a device whose components are the columns.
func (t *table) describe(name string) *protocol.Describe {
	d := &protocol.Describe{Model: "replay", Manufacturer: "Hearthgate", Name: name}
	for _, c := range t.columns {
		component := protocol.Component{ID: c.name, Kind: "sensor", StateClass: "measurement"}
		if c.text {
			component.StateClass = ""
		}
		d.Components = append(d.Components, component)
	}
	return d
}

// records are the values of a row, shift seconds later than the file says.
func (t *table) records(r row, shift int64) []protocol.Record {
	records := make([]protocol.Record, 0, len(r.cells))
	for i, cell := range r.cells {
		if cell == "" {
			continue
		}
		records = append(records, protocol.Record{
			Name: t.columns[i].name, Value: value(cell, t.columns[i].text),
			Time: (r.at + shift) * int64(time.Second), Absolute: true,
		})
	}
	return records
}

// value is a cell as a value: whole numbers as integers, which are shorter.
func value(cell string, text bool) protocol.Value {
	if text {
		return protocol.Text(cell)
	}
	if i, err := strconv.ParseInt(cell, 10, 54); err == nil {
		return protocol.Int(i)
	}
	f, _ := strconv.ParseFloat(cell, 64) // add has read it before
	return protocol.Float(f)
}

// replay feeds every device with the rows of one table.
type replay struct {
	table   *table
	speed   float64 // 0 = as fast as acks allow
	shift   int64   // s added to every time
	clients []*client.Device
	room    []chan struct{} // of each device: a place in its spool for each frame on its way
}

// replayRoom is how many rows of a device are on their way at most, so that a
// spool never has to drop one.
const replayRoom = 256

// newReplay moves the times so that the last row is now: a gateway replaces
// times of more than 90 days ago, and the data sets are older.
func newReplay(t *table, o *options, now time.Time) *replay {
	return &replay{table: t, speed: o.speed, shift: now.Unix() - t.rows[len(t.rows)-1].at}
}

func (r *replay) device(c credential, cfg client.Config) *client.Device {
	room := make(chan struct{}, replayRoom)
	settled := cfg.OnSettled
	cfg.Describe = r.table.describe(c.id)
	cfg.Spool = 2 * replayRoom
	cfg.OnSettled = func(f client.Fate) {
		settled(f)
		<-room
	}
	d := client.New(cfg)
	r.clients = append(r.clients, d)
	r.room = append(r.room, room)
	return d
}

func (r *replay) run(ctx, hangUp context.Context, done func()) {
	var feeders, lives sync.WaitGroup
	for i, d := range r.clients {
		lives.Go(func() { d.Run(hangUp) })
		feeders.Go(func() { r.rows(ctx, d, r.room[i]) })
	}
	feeders.Wait()
	done()
	lives.Wait()
}

// rows reports the table's rows, at their pace.
func (r *replay) rows(ctx context.Context, d *client.Device, room chan struct{}) {
	began, first := time.Now(), r.table.rows[0].at
	for _, row := range r.table.rows {
		if r.speed > 0 {
			due := time.Duration(float64(row.at-first) / r.speed * float64(time.Second))
			if !pause(ctx, time.Until(began.Add(due))) {
				return
			}
		}
		select {
		case room <- struct{}{}:
			d.Report(r.table.records(row, r.shift)...)
		case <-ctx.Done():
			return
		}
	}
}

// pause waits and reports whether ctx still lives.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// judge: rows that were handed over and never acknowledged are a failure.
func (r *replay) judge(sum *summary) error {
	if sum.Acked < sum.Reported {
		return fmt.Errorf("%d of %d rows were acknowledged", sum.Acked, sum.Reported)
	}
	return nil
}
