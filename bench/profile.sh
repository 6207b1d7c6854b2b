#!/bin/sh
# Shows where the gateway spends its time.
#   bench/profile.sh [telemetry|commands|links] [FILE]
# Leaves perf's data in FILE (default /tmp/hearthgate.perf) for `perf report -i`.
# Needs Debian's linux-perf and the right to use it (root, or
# kernel.perf_event_paranoid at 1 or less).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
part=${1:-telemetry} file=${2:-/tmp/hearthgate.perf}
server=${SERVER_CPU:-0} load=${LOAD_CPU:-1}
ulimit -n "$(ulimit -Hn)" || true

bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
trap 'exit 130' INT TERM
cd "$here/.."
CGO_ENABLED=0 go build -o "$bin/hearthgate" ./cmd/gateway # with its symbols
(cd "$here" && go build -o "$bin/bench" .)
TMPDIR=$bin taskset -c "$load" "$bin/bench" -gateway "$bin/hearthgate" -core "$server" -profile "$file" "$part"
echo; echo "By function:"
perf report -i "$file" --no-children --percent-limit 0.8 --stdio -g none 2>/dev/null | grep -v '^#' | grep . | head -45
echo; echo "By function and all that it calls:"
perf report -i "$file" --children --percent-limit 3 --stdio -g none 2>/dev/null | grep -v '^#' | grep . | head -60
