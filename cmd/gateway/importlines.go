package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/hearthgate/hearthgate/protocol"
)

// imported is one line of what export writes: one record, and the frame that it
// was in.
type imported struct {
	Line     int
	Device   string
	Boot     protocol.Boot
	Seq      uint64
	Command  uint64
	Received int64 // ms since 1970
	Record   protocol.Record
}

// sameFrame reports whether two lines are of one frame.
func (l *imported) sameFrame(m *imported) bool {
	return l.Device == m.Device && l.Boot == m.Boot && l.Seq == m.Seq && l.Command == m.Command && l.Received == m.Received
}

// badLine is a line that makes no sense. Others may.
type badLine struct {
	Line int    `json:"line"`
	Why  string `json:"why"`
}

func (b badLine) Error() string { return fmt.Sprintf("line %d: %s", b.Line, b.Why) }

const longestLine = 1 << 20

// lineReader gives line after line, io.EOF at the end. After a badLine it goes on.
type lineReader func() (imported, error)

// readLines recognises what it is given: gzip, JSON lines, CSV.
func readLines(from io.Reader) (lineReader, error) {
	b := bufio.NewReaderSize(from, 64<<10)
	if magic, _ := b.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) { // RFC 1952 §2.3.1
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, err
		}
		b = bufio.NewReaderSize(z, 64<<10)
	}
	if mark, _ := b.Peek(3); string(mark) == "\xef\xbb\xbf" { // spreadsheets begin with it
		_, _ = b.Discard(3)
	}
	first, err := b.Peek(1)
	switch {
	case errors.Is(err, io.EOF):
		return func() (imported, error) { return imported{}, io.EOF }, nil
	case err != nil:
		return nil, err
	case first[0] == '{':
		return jsonReader(b), nil
	}
	return csvReader(b)
}

// jsonReader reads the JSON lines of export.
func jsonReader(b *bufio.Reader) lineReader {
	number := 0
	return func() (imported, error) {
		for {
			number++
			text, err := oneLine(b)
			if err != nil && !errors.As(err, &badLine{}) {
				return imported{}, err
			}
			if err == nil && len(bytes.TrimSpace(text)) == 0 {
				continue
			}
			var l imported
			if err == nil {
				l, err = parseJSONLine(text)
			}
			if l.Line == 0 {
				l.Line = number
			}
			if err != nil {
				return l, badLine{l.Line, plainWords(err)}
			}
			return l, nil
		}
	}
}

// oneLine is the next line; the rest of one that is too long is left out.
func oneLine(b *bufio.Reader) (line []byte, err error) {
	for {
		piece, err := b.ReadSlice('\n')
		if len(line) <= longestLine {
			line = append(line, piece...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(line) > 0:
		case err != nil:
			return nil, err
		}
		if len(line) > longestLine {
			return nil, badLine{0, "it is longer than a megabyte"}
		}
		return line, nil
	}
}

func plainWords(err error) string {
	var bad badLine
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &bad):
		return bad.Why
	case errors.As(err, &syntax):
		return fmt.Sprintf("it is no JSON object: %v", err)
	case errors.As(err, &kind):
		return fmt.Sprintf("%q cannot be a %s", kind.Field, kind.Value)
	}
	return err.Error()
}

// jsonLine is a line of export in JSON. Line is of our own, between the command
// and the gateway.
type jsonLine struct {
	Line     int             `json:"line,omitempty"`
	Device   string          `json:"device"`
	Boot     string          `json:"boot,omitempty"`
	Seq      uint64          `json:"seq,omitempty"`
	Command  uint64          `json:"command,omitempty"`
	Received *int64          `json:"received,omitempty"`
	N        string          `json:"n"`
	V        json.RawMessage `json:"v,omitempty"`
	VS       *string         `json:"vs,omitempty"`
	VB       *bool           `json:"vb,omitempty"`
	T        json.RawMessage `json:"t"`
}

func parseJSONLine(text []byte) (l imported, err error) {
	var j jsonLine
	if err := json.Unmarshal(text, &j); err != nil {
		return l, err
	}
	l = imported{Line: j.Line, Device: j.Device, Seq: j.Seq, Command: j.Command, Record: protocol.Record{Name: j.N}}
	values := 0
	if j.VB != nil {
		l.Record.Value, values = protocol.Bool(*j.VB), values+1
	}
	if j.VS != nil {
		l.Record.Value, values = protocol.Text(*j.VS), values+1
	}
	if len(j.V) > 0 {
		v, ok := parseNumber(string(j.V))
		if !ok {
			return l, fmt.Errorf("v has to be a number, not %s (vs is for text, vb for true and false)", j.V)
		}
		l.Record.Value, values = v, values+1
	}
	if values != 1 {
		return l, errors.New("want one value: v, vs or vb")
	}
	if len(j.T) == 0 {
		return l, errors.New("t is missing, the time in seconds since 1970")
	}
	if l.Record.Time, err = parseSeconds(string(j.T)); err != nil {
		return l, fmt.Errorf("t: %w", err)
	}
	if err := l.setBoot(j.Boot); err != nil {
		return l, err
	}
	l.setReceived(j.Received)
	return l, l.check()
}

// appendJSON writes a line for parseJSONLine.
func (l *imported) appendJSON(b []byte) []byte {
	b = fmt.Appendf(b, `{"line":%d,"device":"%s","boot":"%x","seq":%d,"command":%d,"received":%d,"n":"%s",`,
		l.Line, l.Device, l.Boot, l.Seq, l.Command, l.Received, l.Record.Name)
	b = append(l.Record.Value.AppendSenML(b), `,"t":`...)
	return append(protocol.AppendSeconds(b, l.Record.Time), '}', '\n')
}

func (l *imported) setBoot(text string) error {
	if text == "" {
		return nil
	}
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(l.Boot) {
		return fmt.Errorf("boot has to be %d hexadecimal digits, not %q", 2*len(l.Boot), text)
	}
	copy(l.Boot[:], b)
	return nil
}

// setReceived takes the moment of the measurement where none is said.
func (l *imported) setReceived(said *int64) {
	if said != nil {
		l.Received = *said
		return
	}
	l.Received = (l.Record.Time + 1e6 - 1) / 1e6
}

// latestImport bounds times: in ms it fits everything that we calculate with.
var latestImport = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

// check refuses what no gateway would have taken from a device.
func (l *imported) check() error {
	switch {
	case !protocol.ValidDeviceID(l.Device):
		return fmt.Errorf("%q cannot be the id of a device", l.Device)
	case !protocol.ValidRecordName(l.Record.Name):
		return fmt.Errorf("%q cannot be the name of a value", l.Record.Name)
	case l.Seq > protocol.MaxSeq || l.Command > protocol.MaxSeq:
		return errors.New("seq or command is above 2^53 - 1")
	case l.Seq > 0 && l.Command > 0:
		return errors.New("it has a seq and a command; a record is said by one of them")
	case len(l.Record.Value.AsText()) > protocol.DefaultMessage:
		return errors.New("the text is longer than a device can say")
	case l.Received < 0 || l.Received > latestImport.UnixMilli():
		return fmt.Errorf("received has to be in ms since 1970 and before 2100, not %d", l.Received)
	}
	l.Record.Absolute = true
	return nil
}

// parseNumber keeps whole numbers whole. Any other number is the double that is
// nearest to its decimal.
func parseNumber(text string) (v protocol.Value, ok bool) {
	digits, negative := strings.CutPrefix(text, "-")
	if digits == "" || digits[0] < '0' || digits[0] > '9' || strings.ContainsAny(digits, "xXpP_") {
		return v, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	switch {
	case err == nil && !negative:
		return protocol.MakeValue(protocol.Uint, n, ""), true
	case err == nil && n > 0:
		return protocol.MakeValue(protocol.Neg, n-1, ""), true
	case text == "-18446744073709551616": // the least integer of CBOR
		return protocol.MakeValue(protocol.Neg, math.MaxUint64, ""), true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return v, false
	}
	return protocol.Float(f), true
}

// parseSeconds reads seconds since 1970 without losing a nanosecond.
func parseSeconds(text string) (ns int64, err error) {
	bad := fmt.Errorf("want seconds since 1970 and before 2100, such as 1795219200.5, not %q", text)
	whole, frac, dot := strings.Cut(text, ".")
	s, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || s < 0 || s > latestImport.Unix() || dot && frac == "" || len(frac) > 9 {
		return 0, bad
	}
	for _, c := range frac {
		if c < '0' || c > '9' {
			return 0, bad
		}
	}
	n, _ := strconv.ParseInt((frac + "000000000")[:9], 10, 64)
	return s*1e9 + n, nil
}

// csvReader reads the CSV of export: the first line names the columns, of which
// device, name, time and value have to be there.
func csvReader(b *bufio.Reader) (lineReader, error) {
	c := csv.NewReader(b)
	c.FieldsPerRecord, c.ReuseRecord = -1, true
	head, err := c.Read()
	if err != nil {
		return nil, err
	}
	column := map[string]int{}
	for i, name := range head {
		column[strings.TrimSpace(name)] = i
	}
	for _, name := range []string{"device", "name", "time", "value"} {
		if _, ok := column[name]; !ok {
			return nil, badLine{1, fmt.Sprintf("there is no column %s; want JSON lines, or CSV that begins with device,name,time,value", name)}
		}
	}
	columns := len(head)
	return func() (imported, error) {
		row, err := c.Read()
		var parse *csv.ParseError
		if errors.As(err, &parse) {
			return imported{}, badLine{parse.StartLine, parse.Err.Error()}
		}
		if err != nil {
			return imported{}, err
		}
		line, _ := c.FieldPos(0)
		if len(row) != columns {
			return imported{}, badLine{line, fmt.Sprintf("it has %d columns, the first line has %d", len(row), columns)}
		}
		l, err := parseRow(func(name string) string {
			if i, ok := column[name]; ok {
				return row[i]
			}
			return ""
		})
		l.Line = line
		if err != nil {
			return l, badLine{line, err.Error()}
		}
		return l, nil
	}, nil
}

func parseRow(column func(string) string) (l imported, err error) {
	l = imported{Device: column("device"), Record: protocol.Record{Name: column("name"), Value: guessed(column("value"))}}
	if l.Record.Time, err = parseSeconds(column("time")); err != nil {
		return l, fmt.Errorf("time: %w", err)
	}
	if err := l.setBoot(column("boot")); err != nil {
		return l, err
	}
	for _, n := range []struct {
		name string
		to   *uint64
	}{{"seq", &l.Seq}, {"command", &l.Command}} {
		if text := column(n.name); text != "" {
			if *n.to, err = strconv.ParseUint(text, 10, 64); err != nil {
				return l, fmt.Errorf("%s has to be a whole number, not %q", n.name, text)
			}
		}
	}
	var received *int64
	if text := column("received"); text != "" {
		ms, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return l, fmt.Errorf("received has to be in ms since 1970, not %q", text)
		}
		received = &ms
	}
	l.setReceived(received)
	return l, l.check()
}

// guessed is the value of a column, which does not say its type. What would not
// be written alike is text: 007 is no number.
func guessed(text string) protocol.Value {
	switch text {
	case "true", "false":
		return protocol.Bool(text == "true")
	}
	if v, ok := parseNumber(text); ok && v.String() == text {
		return v
	}
	return protocol.Text(text)
}
