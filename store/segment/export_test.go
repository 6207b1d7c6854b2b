package segment

// EncodeExample is what stands in FORMAT.md.
func EncodeExample() []byte {
	m := mark{0x1122334455667788, 0x99aabbccddeeff00}
	h := make([]byte, headerSize)
	encodeHeader(h, header{m, 3, 7, 16 << 10, 512})
	r := make([]byte, recordHeader+5)
	encodeRecord(r, m, 7, []byte("hello"))
	return append(h, r...)
}

// Places is how many there are in memory.
func (l *Log) Places() (n int) {
	for _, s := range l.live {
		n += len(s.index)
	}
	return n
}

// Read returns the payload of one record. ErrGone: it is not there.
func (l *Log) Read(number uint64) (found []byte, err error) {
	err = l.Scan(number, func(n uint64, payload []byte) bool {
		if n == number {
			found = payload
		}
		return false
	})
	if found == nil && err == nil {
		err = ErrGone
	}
	return found, err
}
