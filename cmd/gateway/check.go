package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hearthgate/hearthgate/store"
)

// checked is what check found.
type checked struct {
	OK       bool           `json:"ok"`
	Gateway  string         `json:"gateway,omitempty"`
	Entries  store.Position `json:"entries"` // position of the last one
	Bytes    int64          `json:"bytes"`
	Findings []string       `json:"findings"`
	// Aside are files that were put out of the way when damage was met earlier.
	Aside []string `json:"aside,omitempty"`
}

func checkCommand() *cobra.Command {
	return &cobra.Command{Use: "check", Short: "Walk through everything on disk and look for damage", Args: cobra.NoArgs,
		Long: `Walk through everything on disk and look for damage, in the running gateway or,
where none runs, in its data directory. Exits with 1 if there is any.`,
		Example: "  hearthgate check\n  hearthgate check --data /var/lib/hearthgate --json",
		RunE: func(c *cobra.Command, _ []string) error {
			a, err := adminOf(c)
			if err != nil {
				return err
			}
			var found checked
			resp, err := a.ask(c.Context(), "/admin/check")
			switch {
			case errors.Is(err, errNotRunning):
				found, err = checkOffline(a.data)
			case err == nil:
				err = json.NewDecoder(resp.Body).Decode(&found)
				_ = resp.Body.Close()
			}
			if err != nil {
				return err
			}
			err = a.show(found, func(w io.Writer) { printChecked(w, absolute(a.data), found) })
			if err == nil && !found.OK {
				return quietError{errors.New("there is damage")}
			}
			return err
		}}
}

func printChecked(w io.Writer, data string, found checked) {
	for _, f := range found.Findings {
		fmt.Fprintln(w, "damaged:", f)
	}
	for _, f := range found.Aside {
		fmt.Fprintln(w, "set aside earlier:", f)
	}
	if found.OK {
		fmt.Fprintf(w, "Everything in %s is sound: gateway %s, the log up to entry %d, %s.\n", data, found.Gateway, found.Entries, bytesText(found.Bytes))
		return
	}
	fmt.Fprintln(w, "The gateway goes on without what is damaged. What is missing may be in a backup: hearthgate restore.")
}

// checkOffline looks before it opens: opening would set a broken database aside.
func checkOffline(data string) (found checked, err error) {
	if err := dataThere(data); err != nil {
		return checked{}, err
	}
	err = store.Inspect(data)
	sameOwner(data)
	if errors.Is(err, store.ErrLocked) {
		return checked{}, err
	}
	if err != nil {
		return checked{Findings: lines(err), Aside: aside(data)}, nil
	}
	err = offlineStore(data, func(s *store.Store) error {
		found = checkStore(s, data)
		return nil
	})
	return found, err
}

func checkStore(s *store.Store, data string) checked {
	found := checked{Gateway: s.GatewayID(), Findings: lines(s.Check()), Aside: aside(data)}
	h := s.Health()
	if h.Damaged > 0 && len(found.Findings) == 0 {
		found.Findings = append(found.Findings, fmt.Sprintf("%d parts could not be read since the start and were left out; the gateway's log names them", h.Damaged))
	}
	found.OK, found.Entries, found.Bytes = len(found.Findings) == 0, s.Head(), h.FileBytes+h.LogBytes
	return found
}

// lines are the single findings of an error that joins them.
func lines(err error) []string {
	if err == nil {
		return []string{}
	}
	return strings.Split(strings.TrimSpace(err.Error()), "\n")
}

func aside(data string) (names []string) {
	for _, pattern := range []string{"*.corrupt-*", "*.damaged-*", "*.orphan-*"} {
		found, _ := filepath.Glob(filepath.Join(data, pattern))
		names = append(names, found...)
	}
	return names
}

// adminOnly is what the admin socket has beyond the API.
func (g *gateway) adminOnly() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", g.api.Admin())
	mux.HandleFunc("GET /admin/backup", g.sendBackup)
	mux.HandleFunc("GET /admin/backup/copied", g.sendCopied)
	mux.HandleFunc("POST /admin/import", g.receiveImport)
	mux.HandleFunc("GET /admin/check", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(checkStore(g.store, absolute(g.cfg.Data)))
	})
	return mux
}

// refuse answers with an error as the API does.
func refuse(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}
