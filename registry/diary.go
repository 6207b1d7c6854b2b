package registry

import (
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// Note is one thing that happened to a device, for the person who asks what is
// the matter with it.
type Note struct {
	Time  time.Time // of the last one, if it came several times in a row
	About string
	Text  string
	Times int // in a row
}

// What notes are about.
const (
	AboutPresence    = "presence"    // it came, slept or was lost
	AboutLink        = "link"        // it broke the protocol, or another one has its identity
	AboutFrame       = "frame"       // something that it sent was refused
	AboutCommand     = "command"     // one ended otherwise than ok
	AboutDescription = "description" // not all of what it says it is can be shown
	AboutLog         = "log"         // a line of its own
)

// Limits of a diary. The lines of a device that talks much do not push out what
// happened to it, so they are counted apart.
const (
	maxNotes    = 32
	maxNoteText = 240 // bytes
)

// diary is what is noted of a device, in memory alone.
type diary struct {
	mu     sync.Mutex // the innermost lock
	notes  []Note
	itself []Note // its own lines
}

// Note notes what happened to a device, if there is such a device. It is cheap
// and waits for nothing.
func (r *Registry) Note(id, about, text string) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if e, ok := r.devices[id]; ok {
		e.diary.add(Note{Time: time.Now(), About: about, Text: tidy(text), Times: 1})
	}
}

// Notes are the last things that happened to a device, the oldest first.
func (r *Registry) Notes(id string) []Note {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if e, ok := r.devices[id]; ok {
		return e.diary.all()
	}
	return nil
}

func (d *diary) add(n Note) {
	d.mu.Lock()
	defer d.mu.Unlock()
	notes := &d.notes
	if n.About == AboutLog {
		notes = &d.itself
	}
	if i := len(*notes) - 1; i >= 0 && (*notes)[i].About == n.About && (*notes)[i].Text == n.Text {
		n.Times += (*notes)[i].Times
		(*notes)[i] = n
		return
	}
	if len(*notes) == maxNotes {
		*notes = slices.Delete(*notes, 0, 1)
	}
	*notes = append(*notes, n)
}

func (d *diary) all() []Note {
	d.mu.Lock()
	all := slices.Concat(d.notes, d.itself)
	d.mu.Unlock()
	slices.SortStableFunc(all, func(a, b Note) int { return a.Time.Compare(b.Time) })
	return all
}

// tidy bounds a text and takes out what a terminal would act on.
func tidy(s string) string {
	if n := maxNoteText; len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n] + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(s, "?"))
}
