package protocol

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

// Resolve turns the times of a telemetry frame's records into absolute ones.
// received is the moment of receipt in ms since 1970; a time more than 10 min
// ahead of it or more than 90 days back is replaced by it. It returns how many
// were replaced. With Uncertain all get the receipt time and none counts.
func (t *Telemetry) Resolve(received int64) (replaced int) { panic("not written yet") }

// Resolve does the same for a result's records; their moment is the receipt.
func (r *Result) Resolve(received int64) (replaced int) { panic("not written yet") }
