package devices

import "github.com/hearthgate/hearthgate/protocol"

// follow sees whether numbers were left out before a frame: then the device had
// to drop data (PROTOCOL.md, Boot and seq), which its user may want to know. A
// run of missing numbers is one gap, however long; the numbers are counted beside it.
func (l *link) follow(boot protocol.Boot, seq uint64, repeat bool) {
	for i := range l.newest {
		c := &l.newest[i]
		if c.boot != boot || seq <= c.seq {
			continue
		}
		if seq > c.seq+1 && !repeat {
			l.hub.o.Registry.Gap(l.device.id)
			l.hub.Counters.LeftOut.Add(seq - c.seq - 1)
			l.hub.log.Debug("the device left data out", "device", l.device.id, "from", c.seq+1, "to", seq-1)
		}
		c.seq = seq
	}
}
