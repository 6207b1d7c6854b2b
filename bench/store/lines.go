package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A lineStore takes InfluxDB's line protocol over HTTP, a batch every 10 s.
type lineStore struct {
	process *process
	url     string
	batch   bytes.Buffer
	waiting int // values in batch
	kept    int
	send    time.Time // the next batch
}

const influxConfig = `
reporting-disabled = true
bind-address = "%[2]s"
[meta]
  dir = "%[1]s/meta"
[data]
  dir = "%[1]s/data"
  wal-dir = "%[1]s/wal"
  query-log-enabled = false
[monitor]
  store-enabled = false
[http]
  bind-address = "%[3]s"
  log-enabled = false
`

func startInflux(b *bench, name string, d *disk) (keeper, error) {
	rpc, err := freeAddress()
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	config := filepath.Join(b.dir, "influxdb.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, influxConfig, d.dir, rpc, address), 0o600); err != nil {
		return nil, err
	}
	s := &lineStore{url: "http://" + address + "/write?db=home&precision=ms"}
	if s.process, err = b.startProcess(name, exec.Command("influxd", "run", "-config", config)); err != nil {
		return nil, err
	}
	if err := s.process.listening(address); err != nil {
		return nil, err
	}
	return s, post("http://"+address+"/query?q=CREATE%20DATABASE%20home", nil)
}

func startVictoria(b *bench, name string, d *disk) (keeper, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s := &lineStore{url: "http://" + address + "/write?db=home&precision=ms"}
	s.process, err = b.startProcess(name, exec.Command("victoria-metrics", "-storageDataPath", filepath.Join(d.dir, "data"),
		"-httpListenAddr", address, "-retentionPeriod", "10y"))
	if err != nil {
		return nil, err
	}
	return s, s.process.listening(address)
}

func (s *lineStore) take(at time.Time, device int, values []float64) error {
	if at.After(s.send) {
		if err := s.flush(); err != nil {
			return err
		}
		s.send = at.Add(interval)
	}
	var fields []string
	for i, c := range seriesOf(device) {
		fields = append(fields, c.name+"="+c.number(values[i]))
	}
	fmt.Fprintf(&s.batch, "home,device=%s %s %d\n", deviceName(device), strings.Join(fields, ","), at.UnixMilli())
	s.waiting += len(values)
	return nil
}

func (s *lineStore) flush() error {
	if s.waiting == 0 {
		return nil
	}
	if err := post(s.url, &s.batch); err != nil {
		return err
	}
	s.kept += s.waiting
	s.waiting = 0
	s.batch.Reset()
	return nil
}

func (s *lineStore) finish() (int, error) {
	err := s.flush()
	return s.kept, err
}

func (s *lineStore) server() *process { return s.process }

func post(url string, body io.Reader) error {
	answer, err := http.Post(url, "text/plain", body)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		words, _ := io.ReadAll(io.LimitReader(answer.Body, 600))
		return fmt.Errorf("%s: %s: %s", url, answer.Status, words)
	}
	return nil
}
