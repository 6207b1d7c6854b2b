package protocol

import "math"

// Record is one resolved SenML record (RFC 8428 §4.6): a name, a value, a time.
type Record struct {
	Name  string // "temperature", "desk/on"
	Unit  string // SenML unit, "" = not said
	Value Value
	// Time is in ns. From Decode it is an offset from the moment when the frame
	// was composed, or, with Absolute, since 1970. After Resolve it is always
	// since 1970.
	Time     int64
	Absolute bool
	// Unfit: of an older boot and not fitting today's description. History and
	// stream keep it as it is; it changes no state.
	Unfit bool
	// Late: when it was committed, a newer value of its name was known, so it
	// changes no state. Set by the store.
	Late bool
}

// Bounds of a record's time around the gateway's clock, in ns.
const (
	maxAhead = 10 * 60 * second
	maxBack  = 90 * 24 * 3600 * second
)

// Resolve turns the times of a telemetry frame's records into absolute ones.
// received is the moment of receipt in ms since 1970; a time more than 10 min
// ahead of it or more than 90 days back is replaced by it. It returns how many
// were replaced. With Uncertain all get the receipt time and none counts. With
// a clock that is not trusted no time is replaced: relative ones count from the
// receipt all the same, absolute ones stay.
//
// Of records with the same name and time only the last stays. Call it after the
// records were checked, so that what is wrong with one is said with the number
// that it had in the frame, and once only.
func (t *Telemetry) Resolve(received int64, trusted bool) (replaced int) {
	t.Records = lastOfEach(t.Records)
	now := milliseconds(received)
	if t.Uncertain {
		for i := range t.Records {
			t.Records[i].Time, t.Records[i].Absolute = now, true
		}
		return 0
	}
	return resolveTimes(t.Records, now, t.Age, trusted)
}

// Resolve does the same for a result's records; their moment is the receipt.
func (r *Result) Resolve(received int64, trusted bool) (replaced int) {
	r.Records = lastOfEach(r.Records)
	return resolveTimes(r.Records, milliseconds(received), 0, trusted)
}

// resolveTimes makes the times absolute. age is in ms before now.
func resolveTimes(records []Record, now int64, age uint64, trusted bool) (replaced int) {
	composed := addSaturated(now, -milliseconds(int64(min(age, math.MaxInt64))))
	for i := range records {
		r := &records[i]
		if !r.Absolute {
			r.Time, r.Absolute = addSaturated(composed, r.Time), true
		}
		if trusted && (r.Time > addSaturated(now, maxAhead) || r.Time < addSaturated(now, -maxBack)) {
			r.Time = now
			replaced++
		}
	}
	return replaced
}

// milliseconds turns ms into ns, as far as an int64 goes.
func milliseconds(ms int64) int64 {
	switch {
	case ms > math.MaxInt64/1_000_000:
		return math.MaxInt64
	case ms < -math.MaxInt64/1_000_000:
		return -math.MaxInt64
	}
	return ms * 1_000_000
}

// moment is what makes two records of a frame the same.
type moment struct {
	name     string
	time     int64
	absolute bool
}

// lastOfEach removes records that a later one of the same name and time
// replaces. It works in place. Most frames are short and repeat nothing.
func lastOfEach(records []Record) []Record {
	if len(records) <= 8 {
		return lastOfFew(records)
	}
	last := make(map[moment]int, len(records))
	for i := range records {
		last[records[i].moment()] = i
	}
	kept := records[:0]
	for i := range records {
		if last[records[i].moment()] == i {
			kept = append(kept, records[i])
		}
	}
	return kept
}

func lastOfFew(records []Record) []Record {
	kept := records[:0]
	for i := range records {
		replaced := false
		for j := i + 1; j < len(records) && !replaced; j++ {
			replaced = records[i].moment() == records[j].moment()
		}
		if !replaced {
			kept = append(kept, records[i])
		}
	}
	return kept
}

func (r *Record) moment() moment { return moment{r.Name, r.Time, r.Absolute} }
