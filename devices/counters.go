package devices

import "sync/atomic"

// Counters count since the start. They only grow; read them at any time.
type Counters struct {
	Accepted      atomic.Uint64 // sessions that got a welcome
	RefusedHTTP   atomic.Uint64 // requests answered with 400 or 426
	RefusedRate   atomic.Uint64 // 429
	RefusedFull   atomic.Uint64 // 503
	RefusedToken  atomic.Uint64 // 401
	RefusedRevoke atomic.Uint64 // 403, revoked
	RefusedOrigin atomic.Uint64 // 403, origin

	FramesIn      atomic.Uint64 // messages read
	FramesOut     atomic.Uint64 // messages queued
	Telemetry     atomic.Uint64 // telemetry frames given to the store
	Records       atomic.Uint64 // records in them
	Repeats       atomic.Uint64 // frames that the store had already
	Acked         atomic.Uint64 // frames whose commit was told
	AckedInMemory atomic.Uint64 // frames whose ack said no more than that
	Acks          atomic.Uint64 // ack frames (each tells of one or more)
	Errors        atomic.Uint64 // error frames
	Settled       atomic.Uint64 // frames settled by an error
	LeftOut       atomic.Uint64 // seqs that devices left out: they had to drop data
	Retimed       atomic.Uint64 // records whose time was replaced by the receipt
	LogsDropped   atomic.Uint64 // log frames beyond 10/s
	WindowPauses  atomic.Uint64 // readings paused: window full
	RatePauses    atomic.Uint64 // readings paused: too fast

	Replaced    atomic.Uint64 // links that gave way to a newer one
	Clashes     atomic.Uint64 // identity clashes (alerts)
	ClashClosed atomic.Uint64 // newcomers closed with 4014
	Silent      atomic.Uint64 // links given up for silence
	SlowPeers   atomic.Uint64 // links cut since their peer did not read
	Overloads   atomic.Uint64 // links closed since the store was
	Malformed   atomic.Uint64 // links closed with 1002, 1003, 1009 or 4000
	Panics      atomic.Uint64
}
