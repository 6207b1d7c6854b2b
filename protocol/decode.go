package protocol

import (
	"errors"
	"io"
	"math"
	"strings"
	"sync"

	fxcbor "github.com/fxamacker/cbor/v2"

	"github.com/hearthgate/hearthgate/internal/cbor"
)

// strict judges whether bytes are one well-formed item of the kind that we
// take. Its limits on counts are open: how much is too much is ours to say,
// with the seq that the answer is about.
var strict = sync.OnceValue(func() fxcbor.DecMode {
	mode, err := fxcbor.DecOptions{
		IndefLength:      fxcbor.IndefLengthForbidden,
		TagsMd:           fxcbor.TagsForbidden,
		MaxNestedLevels:  MaxNesting,
		MaxArrayElements: math.MaxInt32,
		MaxMapPairs:      math.MaxInt32,
	}.DecMode()
	if err != nil {
		panic("protocol: " + err.Error()) // the options above are constant
	}
	return mode
})

// Decode reads one frame, of either direction. b is not kept. Any error is a
// *Refusal with what PROTOCOL.md answers to it. Records are checked for their
// form (SenML) but not against a description; see Description.Check.
//
// It goes over the bytes three times: strict says whether they are CBOR of the
// allowed kind, index whether they are a frame and where its keys are, and only
// then is a key's meaning read. So whatever is wrong with one key, the seq is
// known to the answer, wherever in the body it stands.
func Decode(b []byte, l Limits) (Frame, error) {
	l = l.WithDefaults()
	if len(b) > l.Message {
		return nil, &Refusal{Close: CloseTooBig, Message: "message of " + number(len(b)) + " bytes, at most " + number(l.Message)}
	}
	if err := strict().Wellformed(b); err != nil {
		return nil, notCBOR(err)
	}
	var f fields
	if refusal := f.index(b, l); refusal != nil {
		return nil, refusal
	}
	frame := f.frame()
	if f.bad == nil {
		return frame, nil
	}
	if f.typ.gatewayOnly() {
		// Whoever sends that is refused for the type, not for what is in it.
		f.bad.Code = Unsupported
	}
	return nil, f.bad
}

// gatewayOnly reports whether devices never send that frame.
func (t Type) gatewayOnly() bool {
	switch t {
	case TypePong, TypeError, TypeWelcome, TypeAck, TypeCommand, TypeGrant:
		return true
	}
	return false
}

// notCBOR refuses bytes that a reader stumbled over.
func notCBOR(err error) *Refusal {
	switch {
	case errors.Is(err, io.EOF):
		return malformed("an empty message")
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, cbor.ErrTruncated):
		return malformed("the message ends before its time")
	}
	return malformed(strings.TrimPrefix(err.Error(), "cbor: "))
}

func malformed(why string) *Refusal { return &Refusal{Close: CloseMalformed, Message: why} }

// frame reads the meaning. When f.bad is set the result is worth nothing.
func (f *fields) frame() Frame {
	switch f.typ {
	case TypePing:
		return Ping{Token: f.uint(1, 0)}
	case TypePong:
		return Pong{Token: f.uint(1, 0), Time: f.time(2)}
	case TypeBye:
		return Bye{Reason: f.text(1), Seconds: f.uint(2, 0)}
	case TypeError:
		return f.error()
	case TypeHello:
		return f.hello()
	case TypeDescribe:
		return f.describe()
	case TypeTelemetry:
		return f.telemetry()
	case TypeResult:
		return f.result()
	case TypeLog:
		return f.log()
	case TypeWelcome:
		return f.welcome()
	case TypeAck:
		return f.ack()
	case TypeCommand:
		return f.command()
	case TypeGrant:
		return f.grant()
	case TypeReveal:
		return f.reveal()
	}
	f.bad = &Refusal{Code: Unsupported, Message: f.typ.String() + " is not a frame of version 1"}
	return nil
}

// index checks the form of a frame, [type, {key: value, …}] with unsigned keys,
// no key twice (in the body or in a record) and UTF-8 everywhere, and notes
// where the value of each key of the protocol begins.
func (f *fields) index(b []byte, l Limits) *Refusal {
	r := cbor.NewReader(b, 0)
	if n, err := r.Array(); err != nil || n != 2 {
		return malformed("not an array of type and body")
	}
	typ, err := r.Uint()
	if err != nil {
		return malformed("the type is not an unsigned integer")
	}
	*f = fields{b: b, typ: Type(typ), limits: l, body: r.Offset()}
	pairs, err := r.Map()
	if err != nil {
		return malformed("the body is not a map")
	}
	var keys keySet
	keys.start(b)
	for range pairs {
		at := r.Offset()
		key, err := r.Uint()
		if err != nil {
			return malformed("a body key is not an unsigned integer")
		}
		if key < uint64(len(f.at)) {
			f.at[key] = r.Offset()
		}
		if !keys.add(cbor.Head{Major: cbor.Uint, Arg: key}, at) {
			return malformed("body key " + number(key) + " twice")
		}
		if key == f.typ.records() {
			err = indexRecords(b, &r)
		} else {
			err = r.Skip()
		}
		if err != nil {
			return notCBOR(err)
		}
	}
	if keys.repeated() {
		return malformed("a body key twice")
	}
	return nil
}

// records is the body key that holds records, one that no frame has if none does.
func (t Type) records() uint64 {
	switch t {
	case TypeTelemetry, TypeCommand:
		return 2
	case TypeResult:
		return 4
	}
	return math.MaxUint64
}

// indexRecords passes over a list of records. What is no list or no map is not
// its business: that is refused with the seq, later.
func indexRecords(b []byte, r *cbor.Reader) error {
	if r.Peek() != cbor.Array {
		return r.Skip()
	}
	n, err := r.Array()
	var keys keySet
	for i := 0; i < n && err == nil; i++ {
		if r.Peek() != cbor.Map {
			err = r.Skip()
			continue
		}
		err = indexRecord(b, r, &keys)
	}
	return err
}

func indexRecord(b []byte, r *cbor.Reader, keys *keySet) error {
	pairs, err := r.Map()
	if err != nil {
		return err
	}
	keys.start(b)
	for range pairs {
		at := r.Offset()
		label := *r
		if err := r.Skip(); err != nil {
			return err
		}
		head, err := label.Head()
		if err != nil {
			return err
		}
		if !keys.add(head, at) {
			return errTwice
		}
		if err := r.Skip(); err != nil {
			return err
		}
	}
	if keys.repeated() {
		return errTwice
	}
	return nil
}
