package registry

import (
	"strings"
	"testing"
)

func TestAHasherKnowsTheRightPassword(t *testing.T) {
	h := newHasher()
	row := h.hash("correct horse")
	for range 2 { // the second time it is remembered
		if !h.check(row, "correct horse") {
			t.Fatal("the right password was refused")
		}
	}
	if h.check(row, "wrong horse") {
		t.Fatal("a wrong password was taken")
	}
	if h.check(accountRow{}, "") {
		t.Fatal("no account took a password")
	}
	if len(h.right) != 1 {
		t.Fatalf("%d passwords are remembered, want the right one alone", len(h.right))
	}
	changed := h.hash("another")
	if h.check(changed, "correct horse") {
		t.Fatal("the old password is right after a change")
	}
}

func TestOneHashAtATimeAndManyInLineAreRefused(t *testing.T) {
	h := newHasher()
	row := h.hash("secret")
	h.turn <- struct{}{} // someone is hashing
	h.waiting.Store(maxChecks)
	if h.check(row, "secret") {
		t.Fatal("a check was let in beyond the line")
	}
	if n := h.waiting.Load(); n != maxChecks {
		t.Fatalf("%d in line after a refusal, want %d", n, maxChecks)
	}
	<-h.turn
	h.waiting.Store(0)
	if !h.check(row, "secret") {
		t.Fatal("the right password was refused when it was its turn")
	}
}

func TestTokenForm(t *testing.T) {
	token, sum := newToken(deviceToken, "kitchen")
	name, again, ok := splitToken(deviceToken, token)
	if !ok || name != "kitchen" || string(again) != string(sum) {
		t.Fatalf("a new token is not read back: %q %v", name, ok)
	}
	secret := token[len("hg1.kitchen."):]
	if len(secret) != 43 {
		t.Fatalf("secret of %d characters, want 43", len(secret))
	}
	zeros := strings.Repeat("A", 43)
	for what, bad := range map[string]string{
		"empty":               "",
		"no secret":           "hg1.kitchen",
		"other form":          "hga1.kitchen." + zeros,
		"short":               "hg1.kitchen." + zeros[1:],
		"long":                "hg1.kitchen." + zeros + "A",
		"padding":             "hg1.kitchen." + zeros[1:] + "=",
		"another alphabet":    "hg1.kitchen." + zeros[1:] + "+",
		"second spelling":     "hg1.kitchen." + zeros[1:] + "B", // the last 2 of its bits are not part of the secret
		"a line end":          "hg1.kitchen." + zeros[2:] + "\r\n",
		"a line end within":   "hg1.kitchen.A\n" + zeros[2:],
		"a space before":      " hg1.kitchen." + zeros,
		"a name with a dot":   "hg1.kit.chen." + zeros,
		"a form without dots": "hg1kitchen" + zeros,
	} {
		if _, _, ok := splitToken(deviceToken, bad); ok {
			t.Errorf("%s was taken for a token", what)
		}
	}
}
