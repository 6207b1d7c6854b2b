package store

import (
	"cmp"
	"slices"
)

// maxCells is how many names of one device have a newest value: more than any
// description has points. A device that describes itself anew all the time,
// each time with other names, pushes out its own oldest and nobody else's.
const maxCells = 2048

// A cell is the newest value of one name. The committer owns staged; newest is
// what others may see, guarded by Store.values and written by the committer.
type cell struct {
	newest Newest
	shown  bool
	ahead  bool // newest was shown from memory and is not of the log
	staged Newest
	known  bool
}

// cell is the one of a name, made if it is new. When there is no room the
// eighth that was heard of longest ago is forgotten; their history stays. The
// caller is the committer.
func (s *Store) cell(d *device, name string) *cell {
	if c := d.cells[name]; c != nil {
		return c
	}
	s.values.Lock()
	defer s.values.Unlock()
	if len(d.cells) >= maxCells {
		d.forgetOldest(maxCells / 8)
	}
	c := &cell{}
	d.cells[name] = c
	return c
}

func (d *device) forgetOldest(n int) {
	all := make([]*cell, 0, len(d.cells))
	for _, c := range d.cells {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *cell) int {
		return cmp.Or(cmp.Compare(a.staged.Received, b.staged.Received), cmp.Compare(a.staged.Name, b.staged.Name))
	})
	for _, c := range all[:min(n, len(all))] {
		delete(d.cells, c.staged.Name)
	}
}
