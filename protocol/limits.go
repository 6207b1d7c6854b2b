package protocol

// Defaults of Limits, and limits that are not configurable.
const (
	DefaultMessage     = 64 << 10
	DefaultRecords     = 1000
	DefaultComponents  = 128
	DefaultText        = 1 << 10
	DefaultDescription = 16 << 10

	// MaxSeq is the largest sequence number; it and command ids stay exact in a
	// float64, which is all that a JavaScript device has.
	MaxSeq = 1<<53 - 1
	// MaxNesting is how deep arrays and maps may lie in each other; the array
	// around a frame is level 1.
	MaxNesting = 8
	// MaxBoots is how many other boots a hello may name.
	MaxBoots = 7
	// MinFrame is the least that a device must be able to take (hello.5),
	// DefaultFrame what it takes when it does not say.
	MinFrame     = 512
	DefaultFrame = 4096

	maxURLs       = 16 // in a grant
	maxAttributes = 32 // of a component; the richest kind of today has ten
)

// WithDefaults is l with its zero fields replaced by their defaults.
func (l Limits) WithDefaults() Limits {
	for _, f := range []struct {
		field *int
		value int
	}{
		{&l.Message, DefaultMessage},
		{&l.Records, DefaultRecords},
		{&l.Components, DefaultComponents},
		{&l.Text, DefaultText},
		{&l.Description, DefaultDescription},
	} {
		if *f.field == 0 {
			*f.field = f.value
		}
	}
	return l
}
