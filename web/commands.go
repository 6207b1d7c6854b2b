package web

import (
	"io"
	"net/http"
	"time"

	"github.com/hearthgate/hearthgate/command"
	"github.com/hearthgate/hearthgate/internal/when"
)

// wait is how long an answer is waited for when the asker does not say: as long
// as a live command can take, and a moment for the way.
const (
	defaultWait = 11 * time.Second
	longestWait = 5 * time.Minute
)

// caller is the asker of one HTTP request. Its channels have room, so that the
// command's goroutine never waits for the network.
type caller struct {
	waiting chan time.Time
	done    chan command.Result
}

func (c caller) Waiting(_ command.Request, until time.Time) {
	select {
	case c.waiting <- until:
	default:
	}
}

func (c caller) Done(r command.Result, confirm func()) {
	c.done <- r
	if confirm != nil {
		confirm()
	}
}

// sendCommand takes the JSON of <b>/device/<d>/command. The answer is its
// outcome; 202 when it has none yet and waits on disk or went on after ?wait.
func (a *API) sendCommand(w http.ResponseWriter, r *http.Request) error {
	body, wait, given, err := a.asked(w, r)
	if err != nil {
		return err
	}
	req, err := command.ParseJSON(body)
	req.Device = r.PathValue("device")
	if err != nil {
		return writeRaw(w, http.StatusBadRequest, command.Result{
			ID: req.ID, Device: req.Device, Set: req.Set, Outcome: command.Invalid, Message: err.Error(),
		}.AppendJSON(nil))
	}
	if r.URL.Query().Get("values") == "text" {
		plain(req.Set)
	}
	req.ID = named(req.ID)
	c := caller{make(chan time.Time, 1), make(chan command.Result, 1)}
	a.Commands.Submit(req, c)
	return answer(w, r, req, c, wait, given)
}

// asked reads a request for a command: its body, how long its answer may take, and
// whether the asker said so.
func (a *API) asked(w http.ResponseWriter, r *http.Request) (body []byte, wait time.Duration, given bool, err error) {
	if a.Commands == nil {
		return nil, 0, false, problem(http.StatusServiceUnavailable, "the gateway is not running, so nothing can be sent")
	}
	if wait, given, err = waitOf(r); err != nil {
		return nil, 0, false, err
	}
	if body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxCommandBody)); err != nil {
		return nil, 0, false, problem(http.StatusRequestEntityTooLarge, "body: %v", err)
	}
	return body, wait, given, nil
}

// maxCommandBody is how many bytes a request for a command may have.
const maxCommandBody = 64 << 10

// plain turns texts into what the description says they are, as an MQTT /set
// does (?values=text; the command line knows no types).
func plain(set []command.Setting) {
	for i, s := range set {
		if s.Value.IsText() {
			set[i] = command.Setting{Name: s.Name, Text: s.Value.AsText()}
		}
	}
}

// answer waits for the outcome. Who named no wait is not kept waiting for a
// device that sleeps.
func answer(w http.ResponseWriter, r *http.Request, req command.Request, c caller, wait time.Duration, given bool) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	until := time.Now().Add(wait)
	waiting := c.waiting
	for {
		select {
		case res := <-c.done:
			return writeRaw(w, http.StatusOK, res.AppendJSON(nil))
		case until = <-waiting:
			waiting = nil
			if given {
				continue
			}
		case <-timer.C:
		case <-r.Context().Done():
			return nil
		}
		return writeRaw(w, http.StatusAccepted, command.AppendWaiting(nil, req, until))
	}
}

func waitOf(r *http.Request) (wait time.Duration, given bool, err error) {
	s := r.URL.Query().Get("wait")
	if s == "" {
		return defaultWait, false, nil
	}
	wait, err = when.Duration(s)
	if err != nil || wait < 0 || wait > longestWait {
		return 0, false, problem(http.StatusBadRequest, "wait: want a duration up to %s, such as 5s, not %q", longestWait, s)
	}
	return wait, true, nil
}

func writeRaw(w http.ResponseWriter, status int, body []byte) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
	return nil
}

// pending is a command without an outcome, as listed.
type pending struct {
	ID     string         `json:"id"`
	Set    map[string]any `json:"set"`
	Stored bool           `json:"stored"`
	Sent   bool           `json:"sent"`
	Until  int64          `json:"until"` // ms since 1970
}

func (a *API) listCommands(w http.ResponseWriter, r *http.Request) error {
	d, err := a.device(r)
	if err != nil {
		return err
	}
	out := []pending{}
	if a.Commands != nil {
		for _, p := range a.Commands.Waiting(d.ID) {
			q := pending{ID: p.ID, Set: map[string]any{}, Stored: p.Stored, Sent: p.Sent, Until: p.Until.UnixMilli()}
			for _, s := range p.Set {
				q.Set[s.Name] = rawValue(s.Value)
			}
			out = append(out, q)
		}
	}
	return writeJSON(w, http.StatusOK, out)
}

func (a *API) cancelCommand(w http.ResponseWriter, r *http.Request) error {
	d, err := a.device(r)
	if err != nil {
		return err
	}
	id := r.PathValue("id")
	if a.Commands == nil || !a.Commands.Cancel(d.ID, id) {
		return problem(http.StatusNotFound, "no command %q waits for %s", id, d.ID)
	}
	return writeJSON(w, http.StatusOK, map[string]any{"id": id, "outcome": command.Cancelled})
}
