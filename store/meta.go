package store

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"

	"github.com/hearthgate/hearthgate/store/octets"
	bolt "go.etcd.io/bbolt"
)

// Some rows of meta say what all the rest means: how far the log is sealed, where it
// lies, which files are its own. They carry no checksum, and one wrong bit could hide all
// that is not sealed yet. So a copy of them stands beside them, which has one.

var keyCopy = []byte("copy")

var (
	keysCopied = [][]byte{keyFormat, keyGateway, keyEpoch, keyLog, keyPlace, keySealed}
	keysOfMeta = append([][]byte{keyCopy, keyEnd, keyClock, keyUpgrade}, keysCopied...)
)

// putCopy is part of each transaction that changes one of the rows, behind that.
func putCopy(tx *bolt.Tx) error {
	meta := tx.Bucket(bucketMeta)
	var b []byte
	for _, key := range keysCopied {
		b = appendText(b, string(meta.Get(key)))
	}
	return meta.Put(keyCopy, sealRow(b))
}

// mendMeta puts right what one bit did to meta that flipped: in the name of a row, which
// may hide others as well, since the library looks for names by their order, or in what a
// row says.
func (s *Store) mendMeta() error {
	rows := map[string][]byte{}
	err := s.file.view(func(tx *bolt.Tx) error {
		meta := tx.Bucket(bucketMeta)
		if meta == nil {
			return nil
		}
		return meta.ForEach(func(k, v []byte) error {
			rows[string(k)] = slices.Clone(v)
			return nil
		})
	})
	if err != nil {
		return err
	}
	what := mendName(rows)
	if what == "" {
		what = s.mendRow(rows)
	}
	if what == "" {
		return nil
	}
	s.file.damage("meta", fmt.Errorf("%w: %s", errDamaged, what))
	return s.file.update(func(tx *bolt.Tx) error {
		if err := tx.DeleteBucket(bucketMeta); err != nil {
			return err
		}
		meta, err := tx.CreateBucket(bucketMeta)
		if err != nil {
			return err
		}
		for _, key := range slices.Sorted(maps.Keys(rows)) {
			if err := meta.Put([]byte(key), rows[key]); err != nil {
				return err
			}
		}
		return putCopy(tx)
	})
}

// mendName looks for a row that is called almost as one that is not there.
func mendName(rows map[string][]byte) (what string) {
	for name, row := range rows {
		for _, key := range keysOfMeta {
			if _, there := rows[string(key)]; !there && differ([]byte(name), key) == 1 {
				rows[string(key)] = row
				delete(rows, name)
				return fmt.Sprintf("%q was %q", name, key)
			}
		}
	}
	return ""
}

// mendRow compares rows with their copy. If more than a bit differs a version wrote them
// that knows of no copy.
func (s *Store) mendRow(rows map[string][]byte) (what string) {
	if rows[string(keyCopy)] == nil {
		return ""
	}
	copied, err := unsealRow(rows[string(keyCopy)])
	if err != nil {
		return "the copy of its rows is not what it was"
	}
	wrong := 0
	r := octets.Reader{B: copied}
	for _, key := range keysCopied {
		is, was := rows[string(key)], r.Section()
		if n := differ(is, was); n > 0 {
			wrong += n
			what = fmt.Sprintf("%s is %x and was %x", key, is, was)
			rows[string(key)] = was
		}
	}
	if wrong != 1 {
		return ""
	}
	return what
}

// differ counts the bits that do.
func differ(a, b []byte) (n int) {
	if len(a) != len(b) {
		return 8 * max(len(a), len(b))
	}
	for i := range a {
		n += bits.OnesCount8(a[i] ^ b[i])
	}
	return n
}
