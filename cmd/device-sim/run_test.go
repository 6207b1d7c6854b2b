package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hearthgate/hearthgate/command"
	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

const room = "../../sim/testdata/room_occupancy_30s.csv"

func TestAFleetIsAcknowledgedAndVerified(t *testing.T) {
	g := newGateway(t)
	sum := g.simulate(t.Context(), exitDone, "--tokens", g.fleet(12), "--interval", "200ms", "--duration", "2s", "--verify", "--api-token", g.reader())
	if sum.Devices != 12 || sum.Sessions < 12 || sum.Acked < 50 || sum.Pending != 0 || sum.Refused != 0 {
		t.Errorf("ledger %+v", sum)
	}
	if sum.Verified == nil || sum.Verified.Missing != 0 || uint64(sum.Verified.Records) != sum.Records {
		t.Errorf("verified %+v of %d records", sum.Verified, sum.Records)
	}
}

func TestADataSetArrivesWholeThoughTheGatewayRestarts(t *testing.T) {
	g := newGateway(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	restarted := make(chan struct{})
	tokens, reader := g.fleet(2), g.reader()
	go func() {
		defer close(restarted)
		for g.store.Health().Entries < 60 {
			time.Sleep(time.Millisecond)
		}
		g.stop()
		g.start()
	}()
	sum := g.simulate(ctx, exitDone, "--tokens", tokens, "--csv", room, "--speed", "max", "--verify", "--api-token", reader)
	<-restarted
	if sum.Acked != 400 || sum.Records != 2*(200*17-3) || // three cells of the file are empty
		sum.Sessions < 4 || sum.Verified.Missing != 0 {
		t.Errorf("ledger %+v", sum)
	}
	if sum.ShiftedBy == 0 {
		t.Error("the shift is not told")
	}

	// The gateway's history is the file, in its digits.
	table, err := readTable(room)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(table.rows[0].at+sum.ShiftedBy, 0)
	for i, c := range table.columns {
		samples, err := g.store.History(t.Context(), "sim-001", c.name, at, at.Add(1000*time.Hour), 0)
		var rows []row // with a value in this column
		for _, r := range table.rows {
			if r.cells[i] != "" {
				rows = append(rows, r)
			}
		}
		if err != nil || len(samples) != len(rows) {
			t.Fatalf("%s: %d samples, want %d (%v)", c.name, len(samples), len(rows), err)
		}
		for n, s := range samples {
			row := rows[n]
			if want := value(row.cells[i], false); s.Value.AsFloat() != want.AsFloat() || s.Time != (row.at+sum.ShiftedBy)*1e9 {
				t.Fatalf("%s row %d: %s at %d, want %s at %d", c.name, n, s.Value, s.Time, row.cells[i], row.at+sum.ShiftedBy)
			}
		}
	}
}

func TestVerifyNoticesWhatIsMissing(t *testing.T) {
	g := newGateway(t)
	tokens, reader := g.fleet(1), g.reader()
	p := &play{opts: &options{api: "http://" + g.address, apiToken: reader}, ledger: newLedger(true)}
	var err error
	if p.opts.tokens, err = parseTokens(open(t, tokens)); err != nil {
		t.Fatal(err)
	}
	sum := g.simulate(t.Context(), exitDone, "--tokens", tokens, "--csv", room, "--speed", "max")
	if sum.Acked != 200 {
		t.Fatalf("ledger %+v", sum)
	}
	p.ledger.kept["sim-001"] = []keptFrame{{protocol.Boot{1}, 7, []protocol.Record{{Name: "s1_temp", Value: protocol.Float(24.5)}}}}
	v, err := p.verify(t.Context())
	if err == nil || v.Missing != 1 || !strings.Contains(v.String(), "seq 7 s1_temp=24.5") {
		t.Errorf("verdict %v, %v: want the one record that nobody sent to be missing", v, err)
	}
}

func open(t *testing.T, file string) *os.File {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestNothingAcknowledgedIsLostInBadWeather(t *testing.T) {
	g := newGateway(t)
	tokens, reader := g.fleet(12), g.reader()
	stop := make(chan struct{})
	asked := make(chan map[command.Outcome]int)
	go func() { asked <- g.pester(t, stop) }()
	sum := g.simulate(t.Context(), exitDone, "--tokens", tokens, "--interval", "50ms", "--chaos", "--seed", "3", "--duration", "5s", "--verify", "--api-token", reader)
	close(stop)
	if outcomes := <-asked; outcomes[command.OK] == 0 {
		t.Errorf("outcomes of commands: %v, want some to be carried out", outcomes)
	}
	if sum.Acked < 100 || sum.Verified == nil || sum.Verified.Missing != 0 {
		t.Errorf("ledger %+v", sum)
	}
	if sum.Faults["duplicate"] == 0 || len(sum.Faults) < 4 {
		t.Errorf("faults %v: no bad weather", sum.Faults)
	}
}

// pester switches the second device, a lamp, until stop is closed.
func (g *gateway) pester(t *testing.T, stop chan struct{}) map[command.Outcome]int {
	outcomes := map[command.Outcome]int{}
	for n := 0; ; n++ {
		select {
		case <-stop:
			return outcomes
		case <-time.After(50 * time.Millisecond):
		}
		answer := make(asker, 1)
		g.commands.Submit(command.Request{
			ID: fmt.Sprint(n), Device: "sim-002", TTL: 300 * time.Millisecond,
			Set: []command.Setting{{Name: "light/on", Value: protocol.Bool(n%2 == 0)}},
		}, answer)
		outcomes[(<-answer).Outcome]++
	}
}

func TestLoadKeepsItsFramesInFlight(t *testing.T) {
	g := newGateway(t)
	tokens := g.fleet(4)
	fast := g.simulate(t.Context(), exitDone, "--tokens", tokens, "--load", "--inflight", "4", "--duration", "1s")
	if fast.Acked < 40 || fast.Pending != 0 || fast.Latency.P50 <= 0 || fast.Latency.Max < fast.Latency.P99 {
		t.Errorf("ledger %+v", fast)
	}
	paced := g.simulate(t.Context(), exitDone, "--tokens", tokens, "--load", "--rate", "50", "--duration", "1s")
	if paced.Acked < 30 || paced.Acked > 60 {
		t.Errorf("%d acked in a second at 50/s", paced.Acked)
	}
}

func TestATokenThatIsRefusedEndsThePlay(t *testing.T) {
	g := newGateway(t)
	wrong := "hg1.nobody." + strings.Repeat("A", 43)
	sum := g.simulate(t.Context(), exitFailed, "--token", wrong)
	if sum.Sessions != 0 || sum.Ends["HTTP 401"] != 1 {
		t.Errorf("ledger %+v", sum)
	}
}

func TestAGatewayThatIsNotThereIsSaidWithTheReason(t *testing.T) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	tls := httptest.NewUnstartedServer(http.NotFoundHandler())
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.StartTLS()
	defer tls.Close()
	token := "hg1.desk." + strings.Repeat("A", 43)
	for url, says := range map[string]string{
		"ws://" + nobody.Addr().String() + "/device": "connection refused",
		strings.Replace(tls.URL, "https", "wss", 1):  "--ca FILE",
	} {
		var stdout, stderr bytes.Buffer
		start := time.Now()
		exit := run(t.Context(), []string{"--url", url, "--token", token, "--duration", "100ms"}, func(string) string { return "" }, &stdout, &stderr)
		if exit != exitFailed || !strings.Contains(stderr.String(), says) {
			t.Errorf("exit %d, it says %q, want %q in it", exit, stderr.String(), says)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("it waited %v for nothing", took)
		}
	}
}

func TestVerifyWithoutAnAnswerIsNoVerdict(t *testing.T) {
	g := newGateway(t)
	sum := g.simulate(t.Context(), exitFailed, "--tokens", g.fleet(1), "--duration", "300ms", "--verify", "--api-token", "hga1.nobody."+strings.Repeat("A", 43))
	if sum.Acked == 0 || sum.Verified != nil {
		t.Errorf("verified %+v of %d records", sum.Verified, sum.Records)
	}
}

func TestCtrlCEndsItWithTheLedger(t *testing.T) {
	g := newGateway(t)
	ctx, cancel := context.WithCancel(t.Context())
	tokens := g.fleet(1)
	tail := g.store.Follow()
	defer tail.Close()
	go func() {
		defer cancel()
		for {
			entries, _, err := tail.Next(ctx, 10)
			for _, e := range entries {
				if e.Kind == store.Telemetry {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	if sum := g.simulate(ctx, exitDone, "--tokens", tokens); sum.Acked == 0 || sum.Pending != 0 {
		t.Errorf("ledger %+v", sum)
	}
}

func TestUsage(t *testing.T) {
	token := "hg1.desk." + strings.Repeat("A", 43)
	for _, c := range []struct {
		args string
		exit int
		says string
	}{
		{"", exitUsage, "--token"},
		{"--help", exitDone, "Flags:"},
		{"--pair", exitFailed, "pairing"},
		{"--token nonsense", exitUsage, "hg1.<device-id>"},
		{"--token " + token + " --devices 2", exitUsage, "each device needs a token"},
		{"--token " + token + " --url http://x", exitUsage, "ws://"},
		{"--token " + token + " --speed fast", exitUsage, "max"},
		{"--token " + token + " --speed -1", exitUsage, "max"},
		{"--token " + token + " --interval -1s", exitUsage, "-interval: want a duration"},
		{"--token " + token + " --interval 1us", exitUsage, "--interval"},
		{"--token " + token + " --csv testdata/none.csv", exitUsage, "none.csv"},
		{"--token " + token + " --csv a.csv --load", exitUsage, "choose one"},
		{"--token " + token + " --verify", exitUsage, "--api-token"},
		{"--token " + token + " --ca run_test.go", exitUsage, "no certificate"},
		{"--token " + token + " --inflight 0 --load", exitUsage, "--inflight"},
		{"--tokens none.json", exitUsage, "none.json"},
		{"--token " + token + " extra", exitUsage, "extra"},
		{"--sped 3", exitUsage, "sped"},
	} {
		var stdout, stderr bytes.Buffer
		exit := run(t.Context(), strings.Fields(c.args), func(string) string { return "" }, &stdout, &stderr)
		if said := stdout.String() + stderr.String(); exit != c.exit || !strings.Contains(said, c.says) {
			t.Errorf("%q: exit %d, want %d; it says %q, want %q in it", c.args, exit, c.exit, said, c.says)
		}
	}
}

// asker passes on the outcome of one command.
type asker chan command.Result

func (a asker) Waiting(command.Request, time.Time) {}

func (a asker) Done(r command.Result, confirm func()) { confirm(); a <- r }
