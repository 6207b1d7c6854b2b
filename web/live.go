package web

import (
	"fmt"
	"net/http"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// livePiece is how many bytes are gathered for one write: 256 entries of the
// largest kind would be many megabytes for each reader.
const livePiece = 32 << 10

// live streams what is committed from now on as JSON lines: one a record, and
// one a change of presence. ?device= for one alone. A reader that is too slow
// misses entries of the log's memory and is told how many ("skipped").
func (a *API) live(w http.ResponseWriter, r *http.Request) error {
	flusher, ok := w.(http.Flusher)
	if !ok {
		return problem(http.StatusInternalServerError, "this connection cannot stream")
	}
	device := r.URL.Query().Get("device")
	if device != "" {
		if _, err := a.named(device); err != nil {
			return err // it would be silent for ever
		}
	}
	tail := a.Store.Follow()
	defer tail.Close()
	w.Header().Set("Content-Type", "application/jsonl")
	w.Header().Set("Cache-Control", "no-store")
	flusher.Flush()
	control := http.NewResponseController(w)
	var b []byte
	for {
		entries, skipped, err := tail.Next(r.Context(), 256)
		if err != nil {
			return nil // the reader went, or the store closed
		}
		b = b[:0]
		if skipped > 0 {
			b = fmt.Appendf(b, "{\"skipped\":%d}\n", skipped)
		}
		for i, e := range entries {
			if device == "" || device == e.Device {
				b = appendLive(b, e)
			}
			if len(b) < livePiece && i < len(entries)-1 {
				continue
			}
			_ = control.SetWriteDeadline(time.Now().Add(10 * time.Second))
			if _, err := w.Write(b); err != nil {
				return nil
			}
			b = b[:0]
		}
		flusher.Flush()
	}
}

func appendLive(b []byte, e *store.Entry) []byte {
	if e.Kind == store.Presence && e.Again {
		return b
	}
	if e.Kind == store.Presence {
		return fmt.Appendf(b, "{\"device\":\"%s\",\"received\":%d,\"state\":\"%s\",\"cause\":%s}\n",
			e.Device, e.Received, e.Presence.State, protocol.Text(e.Presence.Cause).AppendJSON(nil))
	}
	if e.Kind == store.Imported {
		return b
	}
	for i := range e.Records {
		r := &e.Records[i]
		b = fmt.Appendf(b, `{"device":"%s","received":%d,"n":"%s",`, e.Device, e.Received, r.Name)
		b = r.Value.AppendSenML(b)
		b = append(b, `,"t":`...)
		b = protocol.AppendSeconds(b, r.Time)
		if r.Late || r.Unfit || e.Uncertain || e.Again {
			b = append(b, `,"state":false`...)
		}
		b = append(b, '}', '\n')
	}
	return b
}
