//go:build !(386 || arm || mips || mipsle)

package store

// maxFileSize is the store's budget; when it is spent the oldest raw entries go.
const maxFileSize = 8 << 30
