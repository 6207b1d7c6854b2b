package mqtt

import (
	"strconv"

	"github.com/hearthgate/hearthgate/protocol"
	"github.com/hearthgate/hearthgate/store"
)

// maxPart is how much JSON a message of the stream holds; a larger frame goes
// in parts.
const maxPart = 32 << 10

// appendStream appends the JSON of an entry, one message after another, and
// calls emit with each. b is a buffer to build in; what emit gets stays valid.
func appendStream(b []byte, e *store.Entry, emit func(payload []byte)) []byte {
	start := len(b)
	b = appendStreamHead(b, e, 0, 0)
	for i := range e.Records {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendRecord(b, &e.Records[i])
		if len(b)-start > maxPart {
			return appendParts(b[:start], e, emit)
		}
	}
	b = append(b, "]}"...)
	if len(b)-start > maxPart {
		return appendParts(b[:start], e, emit)
	}
	emit(b[start:len(b):len(b)])
	return b
}

// appendParts is appendStream for an entry that is too large for one message.
func appendParts(b []byte, e *store.Entry, emit func([]byte)) []byte {
	const room = maxPart - 200 // for the head and the end
	var records []byte
	ends := []int{} // of each record in records
	for i := range e.Records {
		records = appendRecord(records, &e.Records[i])
		ends = append(ends, len(records))
	}
	type part struct{ from, to int } // records
	var parts []part
	from, begin := 0, 0
	for i, end := range ends {
		if i > from && end-begin+(i-from) > room {
			parts = append(parts, part{from, i})
			from, begin = i, ends[i-1]
		}
	}
	parts = append(parts, part{from, len(ends)})
	for n, p := range parts {
		start := len(b)
		b = appendStreamHead(b, e, n+1, len(parts))
		for i := p.from; i < p.to; i++ {
			if i > p.from {
				b = append(b, ',')
			}
			begin := 0
			if i > 0 {
				begin = ends[i-1]
			}
			b = append(b, records[begin:ends[i]]...)
		}
		b = append(b, "]}"...)
		emit(b[start:len(b):len(b)])
	}
	return b
}

func appendStreamHead(b []byte, e *store.Entry, part, parts int) []byte {
	const hex = "0123456789abcdef"
	b = append(b, `{"boot":"`...)
	for _, x := range e.Boot {
		b = append(b, hex[x>>4], hex[x&15])
	}
	if e.Kind == store.Result {
		b = append(b, `","command":`...)
		b = strconv.AppendUint(b, e.Command, 10)
	} else {
		b = append(b, `","seq":`...)
		b = strconv.AppendUint(b, e.Seq, 10)
	}
	b = append(b, `,"received":`...)
	b = strconv.AppendInt(b, e.Received, 10)
	if e.Uncertain {
		b = append(b, `,"uncertain":true`...)
	}
	if parts > 0 {
		b = append(b, `,"part":`...)
		b = strconv.AppendInt(b, int64(part), 10)
		b = append(b, `,"parts":`...)
		b = strconv.AppendInt(b, int64(parts), 10)
	}
	return append(b, `,"records":[`...)
}

// appendRecord appends a record with the JSON labels of RFC 8428 §4.3.
func appendRecord(b []byte, r *protocol.Record) []byte {
	b = append(b, `{"n":`...)
	b = appendText(b, r.Name)
	if r.Unit != "" {
		b = append(b, `,"u":`...)
		b = appendText(b, r.Unit)
	}
	b = r.Value.AppendSenML(append(b, ','))
	b = append(b, `,"t":`...)
	b = protocol.AppendSeconds(b, r.Time)
	return append(b, '}')
}

// appendText appends a text as a JSON string.
func appendText(b []byte, s string) []byte { return protocol.Text(s).AppendJSON(b) }
