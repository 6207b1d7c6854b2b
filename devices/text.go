package devices

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// sentence joins what happened and why, if that is known.
func sentence(what, why string) string {
	if why == "" {
		return what
	}
	return what + ": " + why
}

// clean makes text from outside fit for a log line or a frame: at most n bytes,
// valid UTF-8, and nothing that a terminal would act on.
func clean(s string, n int) string {
	if len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(s, "?"))
}
