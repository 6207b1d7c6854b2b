package history

import (
	"maps"
	"strings"
	"time"
)

// Keep is how long each level is kept, from the end of the bucket in which it
// lies: a day for samples, a month for rows of five minutes and of hours, a year for
// days. 0 is for ever. A level is kept at least as long as the finer ones, for
// what is behind rows is needed to make the next.
type Keep struct {
	Raw, FiveMinutes, Hours, Days time.Duration
}

// DefaultKeep is samples for 90 days, rows of five minutes for a year, hours for
// five years and days for ever.
func DefaultKeep() Keep {
	const year = 365 * 24 * time.Hour
	return Keep{Raw: 90 * 24 * time.Hour, FiveMinutes: year, Hours: 5 * year}
}

// of is how long a level is kept.
func (k Keep) of(l Level) time.Duration {
	longest := time.Duration(1)
	for i, d := range [...]time.Duration{k.Raw, k.FiveMinutes, k.Hours, k.Days} {
		if d <= 0 {
			return 0
		}
		if longest = max(longest, d); Level(i) == l {
			break
		}
	}
	return longest
}

// Policy is how long what is kept.
type Policy struct {
	Keep

	// Overrides are for a device ("kitchen"), a component of it ("kitchen/desk",
	// with all its attributes) or one series ("kitchen/desk/power"). The longest
	// name that fits counts, whole.
	Overrides map[string]Keep
}

func (p *Policy) equal(q *Policy) bool {
	return p.Keep == q.Keep && maps.Equal(p.Overrides, q.Overrides)
}

// series is how long one series is kept.
func (p *Policy) series(device, name string) Keep {
	if len(p.Overrides) == 0 {
		return p.Keep
	}
	for at := device + "/" + name; at != ""; {
		if keep, ok := p.Overrides[at]; ok {
			return keep
		}
		i := strings.LastIndexByte(at, '/')
		if i < 0 {
			break
		}
		at = at[:i]
	}
	return p.Keep
}

// spans are all the durations that a level has under the policy.
func (p *Policy) spans(l Level) []time.Duration {
	all := []time.Duration{p.of(l)}
	for _, keep := range p.Overrides {
		all = append(all, keep.of(l))
	}
	return all
}

// over reports whether what ends at end and is kept so long is old at now.
func over(keep time.Duration, end day, now time.Time) bool {
	return keep > 0 && !now.IsZero() && end.start() <= now.Add(-keep).UnixNano()
}
