package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

// verdict compares what was acknowledged with what the gateway gives back.
type verdict struct {
	Records  int      `json:"records"` // acknowledged
	Missing  int      `json:"missing"`
	Examples []string `json:"examples,omitempty"` // of the missing
}

func (v *verdict) String() string {
	if v.Missing == 0 {
		return fmt.Sprintf("the gateway has all %d acknowledged records", v.Records)
	}
	return fmt.Sprintf("%d of %d acknowledged records are MISSING, such as %s", v.Missing, v.Records, strings.Join(v.Examples, "; "))
}

// key names one record for ever.
type key struct {
	boot protocol.Boot
	seq  uint64
	name string
}

// exported is a line of the gateway's export; those of results have a command
// in place of seq.
type exported struct {
	Boot string   `json:"boot"`
	Seq  uint64   `json:"seq"`
	Name string   `json:"n"`
	V    *float64 `json:"v"`
	VS   *string  `json:"vs"`
	VB   *bool    `json:"vb"`
	Time float64  `json:"t"`
}

// verify asks for each device's export, one after the other. Without an answer
// there is no verdict.
func (p *play) verify(ctx context.Context) (*verdict, error) {
	v := &verdict{}
	client := &http.Client{
		Transport: &http.Transport{TLSClientConfig: p.opts.tls},
		Timeout:   10 * time.Minute,
	}
	defer client.CloseIdleConnections()
	for _, c := range p.opts.tokens {
		kept := p.ledger.kept[c.id]
		if len(kept) == 0 {
			continue
		}
		if err := p.verifyDevice(ctx, client, c.id, kept, v); err != nil {
			return nil, fmt.Errorf("verify %s: %w", c.id, err)
		}
	}
	if v.Missing > 0 {
		return v, fmt.Errorf("%d acknowledged records are missing", v.Missing)
	}
	return v, nil
}

func (p *play) verifyDevice(ctx context.Context, client *http.Client, id string, kept []keptFrame, v *verdict) error {
	has, err := p.whole(ctx, client, id, kept)
	if err != nil {
		return err
	}
	for _, f := range kept {
		for _, r := range final(f.records) {
			v.Records++
			got, ok := has[key{f.boot, f.seq, r.Name}]
			if ok && got.is(r) && (p.chaos != nil && !p.chaos.gentle || got.when(r)) {
				continue
			}
			v.Missing++
			if len(v.Examples) < 5 {
				example := fmt.Sprintf("%s boot %x seq %d %s=%s", id, f.boot, f.seq, r.Name, r.Value)
				if ok {
					example += fmt.Sprintf(" (there: %s)", got)
				}
				v.Examples = append(v.Examples, example)
			}
		}
	}
	return nil
}

// verifyTries is how often an export is begun anew that broke off, a second
// apart: a gateway that was killed in the middle of it is back by then.
const verifyTries = 30

// whole reads one export to its end. An answer that says no is final.
func (p *play) whole(ctx context.Context, client *http.Client, id string, kept []keptFrame) (has map[key]exported, err error) {
	for try := range verifyTries {
		if try > 0 {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(time.Second):
			}
		}
		var body io.ReadCloser
		if body, err = p.export(ctx, client, id, kept); err == nil {
			has, err = readExport(body)
			_ = body.Close()
		}
		var no refusedExport
		if err == nil || errors.As(err, &no) || ctx.Err() != nil {
			return has, err
		}
	}
	return nil, err
}

// refusedExport is an answer of the gateway that another try would not change.
type refusedExport string

func (r refusedExport) Error() string { return string(r) }

// final leaves the last of records with the same name and time in a frame,
// which is the one that counts.
func final(records []protocol.Record) []protocol.Record {
	out := records[:0:0]
	for i, r := range records {
		last := true
		for _, later := range records[i+1:] {
			last = last && (later.Name != r.Name || later.Time != r.Time)
		}
		if last {
			out = append(out, r)
		}
	}
	return out
}

// export opens the export of the time in which the records are. Devices with a
// wrong clock widen it.
func (p *play) export(ctx context.Context, client *http.Client, id string, kept []keptFrame) (io.ReadCloser, error) {
	from := p.ledger.started
	for _, f := range kept {
		for _, r := range f.records {
			if at := time.Unix(0, r.Time); r.Absolute && at.Before(from) {
				from = at
			}
		}
	}
	q := url.Values{
		"format": {"jsonl"},
		"from":   {from.Add(-time.Hour).UTC().Format(time.RFC3339)},
		"to":     {time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)},
	}
	address := strings.TrimSuffix(p.opts.api, "/") + "/api/v1/devices/" + id + "/export?" + q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+p.opts.apiToken)
	answer, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 512))
		return nil, refusedExport(fmt.Sprintf("the gateway answers %s: %s", answer.Status, strings.TrimSpace(string(text))))
	}
	return answer.Body, nil
}

func readExport(r io.Reader) (map[key]exported, error) {
	has := map[key]exported{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		var e exported
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("line %d of the export: %w", n, err)
		}
		boot, err := hex.DecodeString(e.Boot)
		if err != nil || len(boot) != len(protocol.Boot{}) {
			return nil, fmt.Errorf("line %d of the export: boot %q", n, e.Boot)
		}
		if e.Seq > 0 {
			has[key{protocol.Boot(boot), e.Seq, e.Name}] = e
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read the export: %w", err)
	}
	return has, nil
}

// when reports whether e has the time that we said, if we said one. (A wrong
// clock's time the gateway may have replaced.)
func (e exported) when(r protocol.Record) bool {
	return !r.Absolute || math.Abs(e.Time-float64(r.Time)/1e9) < 0.001
}

// is reports whether e has the value that was acknowledged.
func (e exported) is(r protocol.Record) bool {
	switch {
	case r.Value.IsBool():
		return e.VB != nil && *e.VB == r.Value.AsBool()
	case r.Value.IsText():
		return e.VS != nil && *e.VS == r.Value.AsText()
	}
	return e.V != nil && *e.V == r.Value.AsFloat()
}

func (e exported) String() string {
	switch {
	case e.VB != nil:
		return fmt.Sprint(*e.VB)
	case e.VS != nil:
		return fmt.Sprintf("%q", *e.VS)
	case e.V != nil:
		return fmt.Sprint(*e.V)
	}
	return "nothing"
}
