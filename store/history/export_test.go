package history

// What the tests need of keys.
var (
	ParseKey      = parseKey
	ParsePieceKey = parsePieceKey
	ValueKey      = valueKey
	PieceKey      = pieceKey
)

// Span is the days of a bucket.
func Span(l Level, name []byte) (from, to int64, ok bool) {
	a, b, ok := l.span(name)
	return int64(a), int64(b), ok
}

// BucketOf is the name of the bucket of a level that has t.
func BucketOf(l Level, t int64) []byte { return l.bucket(dayOf(t)) }

// Bucket is that of a level.
func Bucket(l Level) []byte { return buckets[l] }

// Pieces is where what is not merged lies.
const Pieces = pieces
