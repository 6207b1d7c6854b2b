package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// homeNow is when the home that the store's own benchmark makes is looked at.
var homeNow = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)

// readTimes is how often each chart is asked for.
const readTimes = 200

// reads asks a gateway that runs on a copy of the home for what charts show of one
// component, over HTTP. The copy is thrown away: a gateway goes on with what it has.
func (b *bench) reads() error {
	if b.home == "" {
		return errors.New("reads: say where the home is: -home DIR (go test -bench Reads ./store -args -home DIR makes it)")
	}
	dir, err := os.MkdirTemp(b.dir, "reads-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	data := filepath.Join(dir, "data")
	if err := os.CopyFS(data, os.DirFS(b.home)); err != nil {
		return fmt.Errorf("reads: copy %s: %w", b.home, err)
	}
	if err := errors.Join(os.Chmod(data, 0o700), os.Remove(filepath.Join(data, "gateway.lock"))); err != nil {
		return err
	}
	plain, err := freeAddress()
	if err != nil {
		return err
	}
	p, err := b.startProcess("reads", exec.Command(b.gateway, "serve", "--data", data, "--store.retain", "0",
		"--listen.http", plain, "--listen.https", "", "--mqtt.listen", "", "--log.level", "warn"))
	if err != nil {
		return err
	}
	defer p.stop()
	if err := p.listening(plain); err != nil {
		return err
	}
	token, err := b.allow(data)
	if err != nil {
		return err
	}
	rest := p.memory()
	t := b.report.section("reads over HTTP, ms", "what", "bytes", "best", "p50", "p99")
	day := 24 * time.Hour
	for _, c := range []struct {
		name string
		span time.Duration
		how  url.Values
	}{
		{"24 h of samples", day, url.Values{"limit": {"10000"}}},
		{"24 h, 800 pixels", day, url.Values{"width": {"800"}}},
		{"a month in rows of 5 minutes, 800 pixels", 30 * day, url.Values{"width": {"800"}}},
		{"a year in rows of an hour, 800 pixels", 365 * day, url.Values{"width": {"800"}}},
		{"a year in rows of a day, 180 pixels", 365 * day, url.Values{"width": {"180"}}},
	} {
		c.how.Set("name", "temperature")
		c.how.Set("from", homeNow.Add(-c.span).Format(time.RFC3339))
		c.how.Set("to", homeNow.Format(time.RFC3339))
		cells, err := timed("http://"+plain+"/api/v1/devices/home-00/history?"+c.how.Encode(), token)
		if err != nil {
			return fmt.Errorf("reads: %s: %w", c.name, err)
		}
		t.add(append([]string{c.name}, cells...)...)
	}
	m := b.report.section("memory of the gateway", "when", "resident", "of it not of files")
	m.add(append([]string{"before"}, rest...)...)
	m.add(append([]string{fmt.Sprintf("after %d reads of each", readTimes)}, p.memory()...)...)
	return nil
}

// allow makes the device known and gives a token for the API.
func (b *bench) allow(data string) (token string, err error) {
	for _, args := range [][]string{{"device", "add", "home-00"}, {"token", "add", "reads", "--role", "read"}} {
		cmd := exec.Command(b.gateway, append(args, "--data", data)...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("%s: %w", cmd, err)
		}
		token = strings.TrimSpace(string(out))
	}
	return token, nil
}

// timed asks again and again, over one connection, and says how long it took.
func timed(address, token string) (cells []string, err error) {
	var took []time.Duration
	size := int64(0)
	for range readTimes {
		r, err := http.NewRequest(http.MethodGet, address, nil)
		if err != nil {
			return nil, err
		}
		r.Header.Set("Authorization", "Bearer "+token)
		begin := time.Now()
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return nil, err
		}
		size, err = io.Copy(io.Discard, answer.Body)
		took = append(took, time.Since(begin))
		if err := errors.Join(err, answer.Body.Close()); err != nil {
			return nil, err
		}
		if answer.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%s: %s", address, answer.Status)
		}
	}
	slices.Sort(took)
	cells = []string{fmt.Sprint(size)}
	for _, part := range []float64{0, 0.5, 0.99} {
		cells = append(cells, fmt.Sprintf("%.2f", took[int(part*float64(len(took)-1))].Seconds()*1000))
	}
	return cells, nil
}

// memory is how much of it is resident, and how much of that is not a file's.
func (p *process) memory() []string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	var cells []string
	for _, name := range []string{"VmRSS:", "RssAnon:"} {
		_, rest, _ := strings.Cut(string(b), "\n"+name)
		kib := 0
		fmt.Sscan(rest, &kib)
		cells = append(cells, fmt.Sprintf("%.1f MiB", float64(kib)/1024))
	}
	return cells
}
