#!/usr/bin/env bash
# Says how much of the arm64 gateway each dependency is: the code and data that
# bear its name, in KiB (the linker shares the rest).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
binary=$(mktemp)
trap 'rm -f "$binary"' EXIT
CGO_ENABLED=0 GOARCH=arm64 go build -trimpath -o "$binary" ./cmd/gateway
symbols=$(go tool nm -size "$binary")
for module in github.com/lxzan/gws go.etcd.io/bbolt github.com/fxamacker/cbor \
  github.com/eclipse/paho github.com/gorilla/websocket github.com/klauspost/compress \
  github.com/goccy/go-yaml github.com/spf13/ github.com/lmittmann/tint golang.org/x/crypto; do
  awk -v m="$module" '$3 != "B" && $3 != "b" && index($4, m) { sum += $2 } END { printf "%6.0f  %s\n", sum / 1024, m }' <<<"$symbols"
done
