//go:build 386 || arm || mips || mipsle

package store

// maxFileSize stays below what a 32-bit address space can map.
const maxFileSize = 900 << 20
