#!/usr/bin/env bash
# Bad days for the real gateway, with simulated devices that keep a ledger of what
# was acknowledged and look for all of it in the end:
#
#   scripts/bad-days.sh kill [rounds]   killed again and again under load (500)
#   scripts/bad-days.sh disk            a file system that is full, then answers no
#                                       write, then is sound again (as root: it
#                                       mounts an image of 96 MiB)
#
# HEARTHGATE and HEARTHGATE_SIM name the programs; without them they are built.
# Exit 1: something that was acknowledged is missing, or check finds damage.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
what=${1:-kill} rounds=${2:-500}
work=$(mktemp -d "${TMPDIR:-/tmp}/bad-days.XXXXXX")
data=$work/data gateway='' loop='' rate=150 commit=50ms
finish() {
  [ -z "$gateway" ] || kill -9 "$gateway" 2>/dev/null || true
  [ "$what" != disk ] || { fsfreeze -u "$work/small" 2>/dev/null || true; umount -l "$work/small" 2>/dev/null || true; [ -z "$loop" ] || losetup -d "$loop" || true; }
  rm -rf "$work"
}
trap finish EXIT
build() { CGO_ENABLED=0 go build -o "$work/$1" "./cmd/$2"; echo "$work/$1"; }
HEARTHGATE=${HEARTHGATE:-$(build hearthgate gateway)}
HEARTHGATE_SIM=${HEARTHGATE_SIM:-$(build hearthgate-sim device-sim)}
port=$((20000 + RANDOM % 20000))

start() {
  "$HEARTHGATE" serve --data "$data" --listen.http "127.0.0.1:$port" --listen.https "127.0.0.1:$((port + 1))" \
    --mqtt.listen "127.0.0.1:$((port + 2))" --limits.device_rate 0 --limits.address_rate 0 --limits.address_links 0 \
    --store.commit "$commit" >>"$work/gateway.log" 2>&1 &
  gateway=$!
}
answers() {
  for _ in $(seq 600); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
    kill -0 "$gateway" 2>/dev/null || { echo "the gateway does not start:"; tail -20 "$work/gateway.log"; exit 1; }
    sleep 0.05
  done
  echo "the gateway does not answer"; exit 1
}
play() { # duration
  "$HEARTHGATE_SIM" --url "ws://127.0.0.1:$port/device" --tokens "$work/fleet.json" --load --inflight 4 --rate "$rate" \
    --duration "$1" --verify --api "http://127.0.0.1:$port" --api-token "$api" >"$work/sim.log" 2>&1 &
  sim=$!
}
end() { # what the ledger says, and check
  wait "$sim" && said=0 || said=$?
  cat "$work/sim.log"
  kill -TERM "$gateway"; wait "$gateway" || true
  "$HEARTHGATE" check --data "$data" || said=1
  [ $said = 0 ] || { tail -40 "$work/gateway.log"; exit 1; }
}

if [ "$what" = disk ]; then
  rate=2000 commit=0s # so that segments are soon full
  truncate -s 96M "$work/image"; mkfs.ext4 -q "$work/image"; mkdir "$work/small"
  loop=$(losetup -f --show "$work/image"); mount "$loop" "$work/small"
  data=$work/small/data
fi
start; answers
"$HEARTHGATE" device add --data "$data" --count 8 --prefix sim --json >"$work/fleet.json"
api=$("$HEARTHGATE" token add --data "$data" verify | tail -1 | tr -d '[:space:]')

if [ "$what" = kill ]; then
  play "$((rounds * 11 / 10))s" # what a round takes at least
  for round in $(seq "$rounds"); do
    sleep "0.$((RANDOM % 9))$((RANDOM % 10))"
    kill -9 "$gateway"; wait "$gateway" 2>/dev/null || true
    start; answers
    [ $((round % 50)) != 0 ] || echo "$round rounds"
  done
  end
  echo "$rounds rounds, nothing that was acknowledged is missing"
  exit
fi

health() { echo "$1: $(date +%T)"; "$HEARTHGATE" status --data "$data" | sed -n 2,4p || true; }
play 150s
sleep 5
dd if=/dev/zero of="$work/small/filler" bs=1M 2>/dev/null || true
for _ in $(seq 60); do # until it is in its way
  grep -q 'TAKES NOTHING' "$work/gateway.log" && break
  sleep 1
done
sleep 5; health full
rm "$work/small/filler"
sleep 5; health "with space again"
fsfreeze -f "$work/small"
sleep 20; grep -c 'TAKES NOTHING' "$work/gateway.log" || true
fsfreeze -u "$work/small"
sleep 10; health "after no write returned for 20 s"
end
grep -E 'TAKES NOTHING|works again' "$work/gateway.log" | cut -c1-200
