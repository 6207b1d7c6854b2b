package history

import (
	"bytes"
	"fmt"

	bolt "go.etcd.io/bbolt"
)

// salvageBytes is about how much Salvage copies in one transaction.
const salvageBytes = 1 << 20

// Salvage copies what can be read of the history in from, whose structure is
// damaged, into another file that has none, in transactions of bounded size.
// update makes one; from must be guarded by debug.SetPanicOnFault. Values that are
// damaged and places where from cannot be read are told of and left out.
func Salvage(from *bolt.Tx, update func(func(to *bolt.Tx) error) error, damage Damage) error {
	for l := Raw; l <= pieces; l++ {
		for _, name := range salvageNames(from, l, damage) {
			if _, _, ok := l.span(name); !ok {
				damage(fmt.Sprintf("%s/%q", l, name), errKey)
				continue
			}
			if err := salvageShelf(from, l, name, update, damage); err != nil {
				return err
			}
		}
	}
	var all [levels]int64
	readable(string(bucketMeta), damage, func() { all = trimmed(from) })
	return update(func(to *bolt.Tx) error { // what is missing must not look wrong to Check
		for l := Raw; l <= Days; l++ {
			last := day(all[l])
			if in := names(to, l, ""); len(in) > 0 {
				_, end, _ := l.span(in[len(in)-1])
				last = max(last, end-1)
			}
			if err := setTrimmed(to, l, last); err != nil {
				return err
			}
		}
		return nil
	})
}

func salvageNames(from *bolt.Tx, l Level, damage Damage) (all [][]byte) {
	readable(l.String(), damage, func() {
		b := from.Bucket(buckets[l])
		if b == nil {
			return
		}
		c := b.Cursor()
		for k, _ := c.First(); k != nil; k, _ = c.Next() {
			all = append(all, bytes.Clone(k))
		}
	})
	return all
}

// readable runs f, which panics where the file is not what it should be, and
// reports whether it came to its end.
func readable(where string, damage Damage, f func()) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			damage(where, fmt.Errorf("the file is damaged: %v", p))
		}
	}()
	f()
	return true
}

// salvageShelf copies one bucket, as far as it can be walked through.
func salvageShelf(from *bolt.Tx, l Level, name []byte, update func(func(*bolt.Tx) error) error, damage Damage) error {
	where := fmt.Sprintf("%s/%s", l, name)
	var next []byte
	for more := true; more; {
		var all []part
		read := 0
		ok := readable(where, damage, func() {
			s := namedShelf(from, l, name)
			if s.b == nil {
				more = false
				return
			}
			c := s.b.Cursor()
			k, v := c.Seek(next)
			for ; k != nil && read < salvageBytes; k, v = c.Next() {
				all = append(all, part{key: bytes.Clone(k), value: bytes.Clone(v)})
				read += len(k) + len(v)
			}
			more, next = k != nil, bytes.Clone(k)
		})
		more = more && ok
		if len(all) == 0 {
			continue
		}
		err := update(func(to *bolt.Tx) error { return salvageValues(to, l, name, all, damage) })
		if err != nil {
			return err
		}
	}
	return nil
}

func salvageValues(to *bolt.Tx, l Level, name []byte, all []part, damage Damage) error {
	s := namedShelf(to, l, name)
	first, end, _ := l.span(name)
	c := checker{devices: map[string][]day{}}
	if err := s.create(); err != nil {
		return err
	}
	for _, p := range all {
		n, err := c.value(&s, p.key, p.value, first, end)
		if err != nil && n == 0 {
			damage(s.where(p.key), err)
			continue
		}
		if err := s.put(p.key, p.value, n); err != nil {
			return err
		}
	}
	return nil
}
