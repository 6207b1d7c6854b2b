#!/bin/sh
# Measures what a home's history costs a disk; see README.md. Run it as root.
#   bench/store/run.sh [--minutes 10] [--quick] [--json] [--dir DIR] [--mount OPTIONS] [part...]
#   bench/store/run.sh reads [-home DIR] [-devices 50] [-days 40] [-year 365]   (needs no root)
#   bench/store/run.sh ingest                                       (needs no root)
#   bench/store/run.sh replay                                       (needs no root)
# Parts: ours-1s ours-5s sqlite influxdb victoriametrics codec (all, if none is
# named), and writer, which shows what ext4 adds to a log's own bytes.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/sbin:/sbin

if [ "${1:-}" = reads ]; then
	shift
	cd "$here/../.."
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
	home=$tmp/data # a home that was named stays, to be read again
	[ "${1:-}" = -home ] && home=$2 && shift 2
	go test -v -run '^$' -bench Reads -benchtime 200x -timeout 2h ./store -args -home "$home" -devices 50 -days 40 -year 365 "$@"
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$tmp/hearthgate" ./cmd/gateway
	(cd "$here" && go build -o "$tmp/store" .)
	"$tmp/store" -gateway "$tmp/hearthgate" -source . -dir "$tmp" -home "$home" reads
	exit
fi

if [ "${1:-}" = ingest ]; then
	shift
	cd "$here/../.."
	go test -run '^$' -bench Ingest -benchtime 300000x -count 3 ./store "$@"         # a burst
	go test -run '^$' -bench Ingest -benchtime 40000000x -timeout 1h ./store "$@" # what can be kept up
	exit
fi

if [ "${1:-}" = replay ]; then
	shift
	cd "$here/../.."
	go test -run '^$' -bench Replay -benchtime 3x -timeout 1h ./store "$@"
	exit
fi

[ "$(id -u)" = 0 ] || { echo "store: it makes and mounts disks: run it as root" >&2; exit 1; }
for need in go mkfs.ext4 dumpe2fs debugfs losetup mount; do
	command -v "$need" >/dev/null || {
		echo "store: $need is missing (Debian: apt install golang e2fsprogs mount)" >&2
		exit 1
	}
done
[ -e /dev/loop-control ] || {
	echo "store: there is no /dev/loop-control (modprobe loop; in a container: --privileged)" >&2
	exit 1
}

tmp=$(mktemp -d)
# The program takes its disks away; this is for when it was killed.
tidy() {
	for m in $(awk -v t="$tmp/" 'index($2, t) == 1 { print $2 }' /proc/mounts); do umount "$m"; done
	losetup -l -n -O NAME,BACK-FILE | awk -v t="$tmp/" 'index($2, t) == 1 { print $1 }' | while read -r loop; do
		rmdir "/sys/kernel/tracing/instances/hearthgate-${loop#/dev/}" || true
		losetup -d "$loop"
	done
	rm -rf "$tmp"
}
trap tidy EXIT
trap 'exit 130' INT TERM

cd "$here/../.."
CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o "$tmp/hearthgate" ./cmd/gateway
(cd "$here" && go build -o "$tmp/store" .)
TMPDIR=$tmp "$tmp/store" -gateway "$tmp/hearthgate" -source . "$@"
