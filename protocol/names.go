package protocol

import "bytes"

const (
	maxName       = 32            // bytes of a component id or an attribute
	maxRecordName = 2*maxName + 1 // component/attribute
	maxDeviceID   = 63
)

// ValidDeviceID reports whether s is [a-z0-9][a-z0-9-]{0,62}.
func ValidDeviceID(s string) bool {
	return len(s) <= maxDeviceID && wordOf([]byte(s), false)
}

// ValidRecordName reports whether s is a component, or a component and its
// attribute: temperature, desk/on.
func ValidRecordName(s string) bool { return len(s) <= maxRecordName && validRecordName([]byte(s)) }

// validName reports whether s is [a-z0-9][a-z0-9_-]{0,31}.
func validName(s []byte) bool { return len(s) <= maxName && wordOf(s, true) }

// validRecordName reports whether s is a name, or two with a slash between.
func validRecordName(s []byte) bool {
	component, attribute, two := bytes.Cut(s, []byte{'/'})
	return validName(component) && (!two || validName(attribute))
}

// wordOf reports whether s is made of [a-z0-9-], with underscore also of _, and
// begins with a letter or a digit.
func wordOf(s []byte, underscore bool) bool {
	for i, c := range s {
		alnum := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		if !alnum && (i == 0 || c != '-' && !(underscore && c == '_')) {
			return false
		}
	}
	return len(s) > 0
}
