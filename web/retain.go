package web

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hearthgate/hearthgate/internal/when"
	"github.com/hearthgate/hearthgate/store"
)

// How long history is kept: for everything, and otherwise for a device, a
// component or a value.

// kept is how long each level is kept as the API shows and takes it: "30d", "36h",
// or "forever".
type kept struct {
	Raw         string `json:"raw,omitempty"`
	FiveMinutes string `json:"5m,omitempty"`
	Hours       string `json:"1h,omitempty"`
	Days        string `json:"1d,omitempty"`
}

// keptOf is one of them with what it is for: kitchen, kitchen/desk.
type keptOf struct {
	Name string `json:"name"`
	kept
}

const (
	forever   = "forever"
	leastKept = time.Hour
	mostKept  = 100 * 365 * when.Day
)

func showKept(k store.Keep) kept {
	return kept{spanText(k.Raw), spanText(k.FiveMinutes), spanText(k.Hours), spanText(k.Days)}
}

func spanText(d time.Duration) string {
	if d <= 0 {
		return forever
	}
	return when.Text(d)
}

// readSpan is otherwise for "".
func readSpan(level, s string, otherwise time.Duration) (time.Duration, error) {
	switch s {
	case "":
		return otherwise, nil
	case forever:
		return 0, nil
	}
	d, err := when.Duration(s)
	if err != nil || d < leastKept || d > mostKept {
		return 0, problem(http.StatusBadRequest, "%s: want a time of an hour or more such as 30d or 36h, or %s, not %q", level, forever, s)
	}
	return d, nil
}

// keep reads how long; what is not said is as for everything.
func (k kept) keep(everything store.Keep) (out store.Keep, err error) {
	for _, l := range []struct {
		name, text      string
		otherwise, into *time.Duration
	}{
		{"raw", k.Raw, &everything.Raw, &out.Raw},
		{"5m", k.FiveMinutes, &everything.FiveMinutes, &out.FiveMinutes},
		{"1h", k.Hours, &everything.Hours, &out.Hours},
		{"1d", k.Days, &everything.Days, &out.Days},
	} {
		if *l.into, err = readSpan(l.name, l.text, *l.otherwise); err != nil {
			return out, err
		}
	}
	return out, nil
}

func (a *API) listRetain(w http.ResponseWriter, _ *http.Request) error {
	all, err := a.Store.Keeps()
	if err != nil {
		return err
	}
	overrides := []keptOf{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		overrides = append(overrides, keptOf{name, showKept(all[name])})
	}
	return writeJSON(w, http.StatusOK, map[string]any{"default": showKept(a.Store.Retention()), "overrides": overrides})
}

func (a *API) setRetain(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	device, rest, of := strings.Cut(name, "/")
	if _, ok := a.Registry.Get(device); !ok || of && rest == "" {
		return problem(http.StatusNotFound, "there is no device %q: want device or device/component, such as kitchen/desk", device)
	}
	var in kept
	if err := readJSON(r, &in); err != nil {
		return err
	}
	if in == (kept{}) {
		return problem(http.StatusBadRequest, "say how long at least one of raw, 5m, 1h and 1d is kept")
	}
	k, err := in.keep(a.Store.Retention())
	if err != nil {
		return err
	}
	if err := a.Store.SetKeep(name, k); err != nil {
		return fmt.Errorf("keep %s for another time: %w", name, err)
	}
	all, err := a.Store.Keeps()
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, keptOf{name, showKept(all[name])})
}

func (a *API) removeRetain(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	all, err := a.Store.Keeps()
	if err != nil {
		return err
	}
	if _, ok := all[name]; !ok {
		return problem(http.StatusNotFound, "%s is kept as everything is", name)
	}
	if err := a.Store.RemoveKeep(name); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, map[string]any{"name": name, "removed": true})
}
