module github.com/hearthgate/hearthgate/bench

go 1.26.0

require github.com/hearthgate/hearthgate v0.0.0

require (
	github.com/dolthub/maphash v0.1.0 // indirect
	github.com/fxamacker/cbor/v2 v2.9.6 // indirect
	github.com/klauspost/compress v1.17.9 // indirect
	github.com/lxzan/gws v1.8.9 // indirect
	github.com/x448/float16 v0.8.4 // indirect
)

replace github.com/hearthgate/hearthgate => ..
