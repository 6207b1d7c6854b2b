#!/bin/sh
# Measures the gateway beside mosquitto on this machine; see README.md.
#   bench/run.sh [--quick] [--json] [--dir DIR] [part...]
# SERVER_CPU and LOAD_CPU name the two cores (default 0 and 1).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
server=${SERVER_CPU:-0} load=${LOAD_CPU:-1}

for need in go mosquitto taskset; do
	command -v "$need" >/dev/null || {
		echo "bench: $need is missing (Debian: apt install golang mosquitto util-linux)" >&2
		exit 1
	}
done
PATH=$PATH:/usr/sbin
# 5,000 connections need as many descriptors, here and in each server.
ulimit -n "$(ulimit -Hn)" || true

bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
trap 'exit 130' INT TERM
cd "$here/.."
CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$bin/hearthgate" ./cmd/gateway
(cd "$here" && go build -o "$bin/bench" .)
TMPDIR=$bin taskset -c "$load" "$bin/bench" -gateway "$bin/hearthgate" -source "$here/.." -core "$server" "$@"
