package registry_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hearthgate/hearthgate/protocol"
	. "github.com/hearthgate/hearthgate/registry"
	"github.com/hearthgate/hearthgate/store"
)

// home is a registry on a store that can be closed and opened again.
type home struct {
	t     *testing.T
	dir   string
	store *store.Store
	*Registry
}

func newHome(t *testing.T) *home {
	h := &home{t: t, dir: t.TempDir()}
	h.open()
	t.Cleanup(func() { h.store.Close() })
	return h
}

func (h *home) open() {
	h.t.Helper()
	var err error
	if h.store, err = store.Open(store.Options{Dir: h.dir}); err != nil {
		h.t.Fatal(err)
	}
	if h.Registry, err = Open(h.store, protocol.Limits{}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *home) restart() {
	h.t.Helper()
	if err := h.store.Close(); err != nil {
		h.t.Fatal(err)
	}
	h.open()
}

func (h *home) add(id string) (token string) {
	h.t.Helper()
	token, err := h.Add(id, "")
	if err != nil {
		h.t.Fatal(err)
	}
	return token
}

// authenticates expects the token to be right (nil) or refused with want.
func (h *home) authenticates(token string, want error) {
	h.t.Helper()
	id, err := h.Authenticate(token)
	if !errors.Is(err, want) || want == nil && err != nil {
		h.t.Fatalf("Authenticate = %q, %v; want %v", id, err, want)
	}
	if err == nil && !strings.HasPrefix(token, "hg1."+id+".") {
		h.t.Fatalf("Authenticate = %q, which is another device", id)
	}
}

func TestTheLifeOfAToken(t *testing.T) {
	h := newHome(t)
	first := h.add("kitchen")
	other := h.add("cellar")
	wrong := "hg1.kitchen." + strings.TrimPrefix(other, "hg1.cellar.")

	h.authenticates(first, nil)
	h.authenticates(wrong, ErrUnknown)
	h.authenticates("hg1.attic."+strings.TrimPrefix(first, "hg1.kitchen."), ErrUnknown)
	h.authenticates("", ErrUnknown)

	second, err := h.Rotate("kitchen")
	if err != nil {
		t.Fatal(err)
	}
	h.restart()
	if d, _ := h.Get("kitchen"); !d.Rotating {
		t.Fatal("not rotating after a rotation and a restart")
	}
	h.authenticates(first, nil) // holds until the new one was used
	h.authenticates(second, nil)
	h.authenticates(first, ErrUnknown)
	h.authenticates(second, nil)
	h.restart()
	h.authenticates(first, ErrUnknown)
	if d, _ := h.Get("kitchen"); d.Rotating {
		t.Fatal("still rotating after the new token was used")
	}

	if err := h.Revoke("kitchen"); err != nil {
		t.Fatal(err)
	}
	h.restart()
	h.authenticates(second, ErrRevoked)
	h.authenticates(wrong, ErrUnknown) // says nothing to who has no right token
	h.authenticates(other, nil)

	third, err := h.Rotate("kitchen") // gives the right back, to the new token alone
	if err != nil {
		t.Fatal(err)
	}
	h.authenticates(second, ErrUnknown)
	h.authenticates(third, nil)

	if err := h.Remove("kitchen"); err != nil {
		t.Fatal(err)
	}
	h.restart()
	h.authenticates(third, ErrUnknown)
	if _, err := h.Add("kitchen", ""); !errors.Is(err, ErrUsed) {
		t.Fatalf("the id of a removed device: %v, want ErrUsed", err)
	}
	for name, err := range map[string]error{
		"rename": h.Rename("kitchen", "x"), "area": h.SetArea("kitchen", "x"),
		"revoke": h.Revoke("kitchen"), "remove": h.Remove("kitchen"),
	} {
		if !errors.Is(err, ErrUnknown) {
			t.Errorf("%s of a removed device: %v, want ErrUnknown", name, err)
		}
	}
}

func TestRevokingBothTokensOfARotation(t *testing.T) {
	h := newHome(t)
	first := h.add("lamp")
	second, err := h.Rotate("lamp")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Revoke("lamp"); err != nil {
		t.Fatal(err)
	}
	h.authenticates(first, ErrRevoked)
	h.authenticates(second, ErrRevoked)
}

func TestDevicesAreAsTheyWereAfterARestart(t *testing.T) {
	h := newHome(t)
	h.add("b")
	h.add("a")
	if _, err := h.Add("c", "Hall lamp"); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{h.Rename("a", "Küche"), h.SetArea("a", "Ground floor"), h.Revoke("b")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	h.Seen("a", &protocol.Hello{Boot: protocol.Boot{1}, Firmware: "1.4.0", WakeInterval: 600, MaxFrame: 2048})
	h.Seen("a", &protocol.Hello{Boot: protocol.Boot{2}, Firmware: "1.4.0", WakeInterval: 600, MaxFrame: 2048})
	h.Gap("a")
	before := h.List()
	h.restart()
	if diff := cmp.Diff(before, h.List(), cmpopts.IgnoreUnexported(protocol.Description{})); diff != "" {
		t.Fatalf("after a restart (-before +after):\n%s", diff)
	}
	var ids []string
	for _, d := range before {
		ids = append(ids, d.ID)
	}
	if !slices.Equal(ids, []string{"a", "b", "c"}) {
		t.Fatalf("List is in the order %v", ids)
	}
	a, _ := h.Get("a")
	if a.Name != "Küche" || a.Area != "Ground floor" || a.Firmware != "1.4.0" || a.WakeInterval != 600 ||
		a.MaxFrame != 2048 || a.LastBoot != (protocol.Boot{2}) || a.Restarts != 1 || a.Gaps != 1 || a.Created == 0 {
		t.Fatalf("a = %+v", a)
	}
	if b, _ := h.Get("b"); b.Name != "b" || !b.Revoked {
		t.Fatalf("b = %+v", b)
	}
}

func TestAFleetIsMadeWholeOrNotAtAll(t *testing.T) {
	h := newHome(t)
	ids, tokens, err := h.AddMany("sim", 12)
	if err != nil {
		t.Fatal(err)
	}
	if ids[0] != "sim-001" || ids[11] != "sim-012" || len(tokens) != 12 {
		t.Fatalf("made %v", ids)
	}
	for _, token := range tokens {
		h.authenticates(token, nil)
	}
	h.add("car-002")
	if _, _, err := h.AddMany("car", 3); !errors.Is(err, ErrExists) {
		t.Fatalf("a fleet over an existing device: %v, want ErrExists", err)
	}
	if _, _, err := h.AddMany("Bad", 3); !errors.Is(err, ErrBadID) {
		t.Fatalf("a fleet with a bad prefix: %v, want ErrBadID", err)
	}
	for _, n := range []int{0, -1, MaxFleet + 1} {
		if _, _, err := h.AddMany("n", n); err == nil {
			t.Fatalf("a fleet of %d was made", n)
		}
	}
	h.restart()
	if n := len(h.List()); n != 13 {
		t.Fatalf("%d devices, want the 12 and car-002", n)
	}
}

func TestNamesAndIDsAreChecked(t *testing.T) {
	h := newHome(t)
	h.add("ok")
	for _, id := range []string{"", "-a", "A", "a/b", "a b", "ä", strings.Repeat("a", 64), "a\n"} {
		if _, err := h.Add(id, ""); !errors.Is(err, ErrBadID) {
			t.Errorf("Add(%q) = %v, want ErrBadID", id, err)
		}
	}
	if _, err := h.Add("ok", ""); !errors.Is(err, ErrExists) {
		t.Errorf("the same id again: %v, want ErrExists", err)
	}
	for _, name := range []string{strings.Repeat("n", MaxName+1), "a\x00b", "a\nb", "\xff"} {
		if err := h.Rename("ok", name); !errors.Is(err, ErrBadName) {
			t.Errorf("Rename to %q: %v, want ErrBadName", name, err)
		}
		if _, err := h.Add("named", name); !errors.Is(err, ErrBadName) {
			t.Errorf("Add with name %q: %v, want ErrBadName", name, err)
		}
	}
}

// asSent is the description as it comes out of its frame.
func asSent(t *testing.T, d protocol.Describe) *protocol.Describe {
	t.Helper()
	f, err := protocol.Decode(protocol.Append(nil, &d), protocol.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return f.(*protocol.Describe)
}

func TestADescriptionStaysAndGrows(t *testing.T) {
	h := newHome(t)
	h.add("kitchen")
	if p := h.Description("kitchen").Points(); len(p) != 0 {
		t.Fatalf("a new device has points: %v", p)
	}
	if h.Description("attic") != nil {
		t.Fatal("a device that does not exist has a description")
	}
	first := asSent(t, protocol.Describe{Model: "TH-1", Components: []protocol.Component{
		{ID: "temperature", Kind: "sensor", Unit: "Cel"},
	}})
	if h.HasDescription("kitchen", first.Hash()) {
		t.Fatal("a description is known before it was sent")
	}
	if err := h.Describe("kitchen", first); err != nil {
		t.Fatal(err)
	}
	var made []protocol.Component
	for _, r := range []protocol.Record{
		{Name: "rssi", Unit: "dBm", Value: protocol.Int(-60)},
		{Name: "mood", Value: protocol.Text("sunny")},
		{Name: "leak", Value: protocol.Bool(false)},
	} {
		c, err := h.Description("kitchen").Check(&r)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, *c)
	}
	for range 2 { // the second time it is known
		d, err := h.AddComponents("kitchen", made)
		if err != nil {
			t.Fatal(err)
		}
		if d.Point("rssi") == nil || d != h.Description("kitchen") {
			t.Fatal("the component that a record made is not there")
		}
	}
	h.restart()
	if !h.HasDescription("kitchen", first.Hash()) {
		t.Fatal("the description is unknown after a restart")
	}
	d := h.Description("kitchen")
	if d.Model != "TH-1" || d.Point("temperature") == nil {
		t.Fatalf("after a restart: %+v", d)
	}
	if diff := cmp.Diff(made, d.Components[1:]); diff != "" {
		t.Fatalf("what records made, after a restart (-before +after):\n%s", diff)
	}

	// What cannot be used keeps the old one.
	var refusal *protocol.Refusal
	bad := &protocol.Describe{Components: []protocol.Component{{ID: "A b", Kind: "sensor"}}}
	if err := h.Describe("kitchen", bad); !errors.As(err, &refusal) {
		t.Fatalf("a bad description: %v, want a refusal", err)
	}
	if h.Description("kitchen") != d || !h.HasDescription("kitchen", first.Hash()) {
		t.Fatal("a refused description took the place of the old one")
	}

	// A later one describes what records made before.
	second := asSent(t, protocol.Describe{Model: "TH-2", Components: []protocol.Component{
		{ID: "rssi", Kind: "sensor", Unit: "dBm", Name: "Signal"},
	}})
	if err := h.Describe("kitchen", second); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		d = h.Description("kitchen")
		if d.Model != "TH-2" || len(d.Points()) != 3 || d.Point("rssi").Component.Name != "Signal" {
			t.Fatalf("the second description: %+v", d)
		}
		h.restart()
	}
	if h.HasDescription("kitchen", first.Hash()) {
		t.Fatal("the first description is still known")
	}
}

func TestTooManyMadeComponents(t *testing.T) {
	h := newHome(t)
	h.add("chatty")
	var many []protocol.Component
	for i := range 129 {
		many = append(many, protocol.Component{ID: "c" + string(rune('a'+i/26)) + string(rune('a'+i%26)), Kind: "sensor", Auto: true})
	}
	var refusal *protocol.Refusal
	if _, err := h.AddComponents("chatty", many); !errors.As(err, &refusal) {
		t.Fatalf("129 components: %v, want a refusal", err)
	}
	if n := len(h.Description("chatty").Points()); n != 0 {
		t.Fatalf("%d points after a refusal", n)
	}
	if _, err := h.AddComponents("chatty", many[:128]); err != nil {
		t.Fatal(err)
	}
}

func TestWatchersHearWhatHappens(t *testing.T) {
	h := newHome(t)
	type event struct {
		ID string
		C  Change
	}
	var got []event
	h.Watch(func(id string, c Change) {
		_, known := h.Get(id) // reading is allowed
		if known == (c == Removed) {
			t.Errorf("%s: change %d, known = %v", id, c, known)
		}
		got = append(got, event{id, c})
	})
	h.add("a")
	h.Rename("a", "A")
	hello := &protocol.Hello{Firmware: "1"}
	h.Seen("a", hello)
	h.Seen("a", hello)
	h.Seen("a", &protocol.Hello{Firmware: "1", Boot: protocol.Boot{9}}) // nobody is shown a boot
	d := asSent(t, protocol.Describe{Components: []protocol.Component{{ID: "t", Kind: "sensor"}}})
	h.Describe("a", d)
	h.Describe("a", d)
	h.Revoke("a")
	h.Remove("a")
	want := []event{{"a", Added}, {"a", Updated}, {"a", Updated}, {"a", Updated}, {"a", Revoked}, {"a", Removed}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestAPITokens(t *testing.T) {
	h := newHome(t)
	panel, err := h.AddToken("panel", Control)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(panel, "hga1.panel.") || len(panel) != len("hga1.panel.")+43 {
		t.Fatal("the token is not of the form hga1.<name>.<43 characters>")
	}
	if _, err := h.AddToken("panel", Read); !errors.Is(err, ErrExists) {
		t.Fatalf("the same name again: %v, want ErrExists", err)
	}
	if _, err := h.AddToken("Panel 2", Read); !errors.Is(err, ErrBadName) {
		t.Fatalf("a bad name: %v, want ErrBadName", err)
	}
	if _, err := h.AddToken("root", "owner"); err == nil {
		t.Fatal("a token of an unknown role was made")
	}
	device := h.add("panel")
	h.restart()
	got, err := h.AuthenticateAPI(panel)
	if err != nil || got.Name != "panel" || got.Role != Control || got.Created == 0 {
		t.Fatalf("AuthenticateAPI = %+v, %v", got, err)
	}
	if diff := cmp.Diff([]Token{got}, h.Tokens()); diff != "" {
		t.Fatal(diff)
	}
	for _, wrong := range []string{"", device, "hga1" + device[len("hg1"):], panel[:len(panel)-1] + "!"} {
		if _, err := h.AuthenticateAPI(wrong); !errors.Is(err, ErrUnknown) {
			t.Errorf("a wrong token: %v, want ErrUnknown", err)
		}
	}
	if err := h.RemoveToken("panel"); err != nil {
		t.Fatal(err)
	}
	if err := h.RemoveToken("panel"); !errors.Is(err, ErrUnknown) {
		t.Fatalf("removed twice: %v, want ErrUnknown", err)
	}
	h.restart()
	if _, err := h.AuthenticateAPI(panel); !errors.Is(err, ErrUnknown) {
		t.Fatalf("a removed token: %v, want ErrUnknown", err)
	}
}

func TestMQTTAccounts(t *testing.T) {
	h := newHome(t)
	for _, name := range []string{"node-red", "ha"} {
		if err := h.SetMQTTUser(name, "first of "+name); err != nil {
			t.Fatal(err)
		}
	}
	h.restart()
	if diff := cmp.Diff([]string{"ha", "node-red"}, h.MQTTUsers()); diff != "" {
		t.Fatal(diff)
	}
	if err := h.SetMQTTUser("ha", "second"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, password string
		want           bool
	}{
		{"node-red", "first of node-red", true},
		{"node-red", "second", false},
		{"ha", "first of ha", false},
		{"ha", "second", true},
		{"ha", "", false},
		{"nobody", "", false},
		{"", "", false},
		{"ha", strings.Repeat("x", MaxPassword+1), false},
	} {
		if got := h.CheckMQTTUser(c.name, c.password); got != c.want {
			t.Errorf("CheckMQTTUser(%q, %.20q) = %v", c.name, c.password, got)
		}
	}
	if err := h.RemoveMQTTUser("ha"); err != nil {
		t.Fatal(err)
	}
	if h.CheckMQTTUser("ha", "second") {
		t.Fatal("a removed account still works")
	}
	if err := h.RemoveMQTTUser("ha"); !errors.Is(err, ErrUnknown) {
		t.Fatalf("removed twice: %v, want ErrUnknown", err)
	}
	for what, err := range map[string]error{
		"no name": h.SetMQTTUser("", "x"), "no password": h.SetMQTTUser("x", ""),
		"control": h.SetMQTTUser("a\x01", "x"), "long password": h.SetMQTTUser("x", strings.Repeat("p", MaxPassword+1)),
	} {
		if err == nil {
			t.Errorf("an account with %s was made", what)
		}
	}
}

func TestNoSecretIsOnTheDisk(t *testing.T) {
	h := newHome(t)
	device := h.add("kitchen")
	next, _ := h.Rotate("kitchen")
	api, _ := h.AddToken("panel", Admin)
	password := "a password to look for"
	if err := h.SetMQTTUser("ha", password); err != nil {
		t.Fatal(err)
	}
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	files := 0
	err := filepath.WalkDir(h.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		files++
		for _, secret := range []string{device, next, api} {
			if bytes.Contains(content, []byte(secret[strings.LastIndex(secret, ".")+1:])) {
				t.Errorf("%s holds the secret of a token", d.Name())
			}
		}
		if bytes.Contains(content, []byte(password)) {
			t.Errorf("%s holds a password", d.Name())
		}
		return err
	})
	if err != nil || files == 0 {
		t.Fatalf("looked into %d files: %v", files, err)
	}
	h.open()
}

// Everything at once, for the race detector: the totals must be right.
func TestManyHandsAtOnce(t *testing.T) {
	h := newHome(t)
	token := h.add("shared")
	h.Watch(func(id string, _ Change) { h.Get(id) })
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			name := string(rune('a' + i))
			for range 5 {
				if id, err := h.Authenticate(token); id != "shared" || err != nil {
					t.Errorf("Authenticate = %q, %v", id, err)
				}
				h.Seen("shared", &protocol.Hello{Firmware: name})
				h.Description("shared")
				h.List()
			}
			if _, err := h.Add(name, ""); err != nil {
				t.Error(err)
			}
			if _, err := h.Add("same", ""); err != nil && !errors.Is(err, ErrExists) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(h.List()); n != 6 {
		t.Fatalf("%d devices, want 6", n)
	}
}
