package rangecoder

// A Slot is a probability in the upper 22 bits and below it how many decisions
// it was learnt from.
type Slot uint32

// Fresh has seen nothing: one half.
const Fresh = Slot(1 << 31)

// countLimit is of how many decisions a probability becomes the mean.
const countLimit = 255

// Learn is the slot after a decision.
func (s Slot) Learn(bit int) Slot {
	n := s & 1023
	p := int64(s >> 10)
	p += (int64(bit)<<22 - int64(bit) - p) * int64(rateTable[n&255]) >> 16
	return Slot(p)<<10 | (n + (n-countLimit)>>31)
}

// rateTable[n] is 65536/(n+1.5): how far a probability goes towards what came
// when it has seen n decisions.
var rateTable = func() (t [countLimit + 1]uint16) {
	for n := range t {
		t[n] = uint16(2 * 65536 / (2*n + 3))
	}
	return t
}()

// logistic is 65535/(1+exp(-x)) at x = -8, -7.5 … 8.
var logistic = [...]int32{22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24742, 32768,
	40793, 47910, 53580, 57723, 60564, 62427, 63614, 64356, 64815, 65096, 65268, 65373, 65437, 65475, 65499, 65513}

// Squash turns a logit, in 256ths, into a probability.
func Squash(x int32) int32 {
	x = min(max(x, -2047), 2047)
	part := x & 127
	at := x>>7 + 16
	return (logistic[at]*(128-part) + logistic[at+1]*part) >> 7
}

// Stretch is the inverse of Squash for probabilities in 4096ths.
var Stretch = func() (t [4096]int16) {
	x := int32(-2047)
	for p := range t {
		for x < 2047 && Squash(x) < int32(p)<<4+8 {
			x++
		}
		t[p] = int16(x)
	}
	return t
}()
