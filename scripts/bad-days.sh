#!/usr/bin/env bash
# Bad days for the real gateway, with simulated devices that keep a ledger of what
# was acknowledged and look for all of it in the end:
#
#   scripts/bad-days.sh kill [rounds]   killed again and again under load (500)
#
# and as root, on a file system in an image of 96 MiB:
#
#   scripts/bad-days.sh disk       it is full, then answers no write, then is sound
#   scripts/bad-days.sh errors     its device gives I/O errors for each write and sync
#   scripts/bad-days.sh readonly   it fails and turns read-only (ext4's abort); then the
#                                  same disk comes back as another device
#   scripts/bad-days.sh gone       likewise, but it comes back when the gateway was
#                                  stopped, since a kernel keeps what failed for as
#                                  long as somebody has a file open on it
#   scripts/bad-days.sh slow       its device takes one write a second
#
# While nothing can be stored, what devices say must reach MQTT all the same. Apart
# from the load, which waits for its acks, there are four that speak in any case.
# HEARTHGATE and HEARTHGATE_SIM name the programs; without them they are built.
# Exit 1: something that was acknowledged is missing, or check finds damage.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
what=${1:-kill} rounds=${2:-500}
work=$(mktemp -d "${TMPDIR:-/tmp}/bad-days.XXXXXX")
data=$work/data small=$work/small image=$work/image gateway='' rate=150 commit=50ms
throttle=/sys/fs/cgroup
[ ! -d "$throttle/blkio" ] || throttle=$throttle/blkio
throttle=$throttle/bad-days.$$
finish() {
  [ -z "$gateway" ] || kill -9 "$gateway" 2>/dev/null || true
  if [ "$what" != kill ]; then
    fsfreeze -u "$small" 2>/dev/null || true
    chattr -i "$image" 2>/dev/null || true
    while umount -l "$small" 2>/dev/null; do :; done
    for loop in $(losetup -nO NAME -j "$image"); do losetup -d "$loop" || true; done
    [ ! -d "$throttle" ] || { sleep 1; rmdir "$throttle"; } || true
  fi
  [ -z "${KEEP:-}" ] || cp "$work"/*.log "$KEEP"
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
sims=()
play() { # duration fleet how…
  "$HEARTHGATE_SIM" --url "ws://127.0.0.1:$port/device" --tokens "$work/$2.json" --duration "$1" "${@:3}" \
    --verify --api "http://127.0.0.1:$port" --api-token "$api" >"$work/$2.log" 2>&1 &
  sims+=($!)
}
end() { # what the ledgers say, and check
  said=0
  for sim in "${sims[@]}"; do wait "$sim" || said=$?; done
  cat "$work"/{load,home}.log 2>/dev/null || true
  kill -TERM "$gateway"; wait "$gateway" || true
  "$HEARTHGATE" check --data "$data" || said=1
  [ $said = 0 ] || { tail -40 "$work/gateway.log"; exit 1; }
}

if [ "$what" != kill ]; then
  rate=2000 commit=0s # so that segments are soon full
  truncate -s 96M "$image"
  journal=has_journal
  [ "$what" != errors ] || journal=^has_journal # which would turn it read-only as well
  mkfs.ext4 -q -O "$journal" "$image"; mkdir "$small"
  mount "$(losetup -f --show "$image")" "$small"
  data=$small/data
fi
start; answers
"$HEARTHGATE" device add --data "$data" --count 8 --prefix sim --json >"$work/load.json"
"$HEARTHGATE" device add --data "$data" --count 4 --prefix hall --json >"$work/home.json"
api=$("$HEARTHGATE" token add --data "$data" verify | tail -1 | tr -d '[:space:]')

if [ "$what" = kill ]; then
  play "$((rounds * 11 / 10))s" load --load --inflight 4 --rate "$rate" # what a round takes at least
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
times() { grep -c "$1" "$work/gateway.log" || true; }
await() { # what the log says one time more, seconds
  for _ in $(seq "$2"); do
    [ "$(times "$1")" -le "$before" ] || return 0
    sleep 1
  done
  return 1
}
# in_memory waits until nothing is stored, and then for messages of MQTT.
in_memory() {
  before=$1
  await 'TAKES NOTHING' 60 || { echo "it does not work in memory:"; tail -20 "$work/gateway.log"; exit 1; }
  heard=$(timeout 20 mosquitto_sub -h 127.0.0.1 -p $((port + 2)) -t '#' -R -C 40 | wc -l) || true
  [ "$heard" -ge 40 ] || { echo "$heard messages reached MQTT meanwhile"; exit 1; }
  sleep 10
  echo "in memory: $(date +%T), $heard messages reached MQTT"
}
works() {
  before=$1
  await 'works again' 60
}
must_work() { works "$1" || { echo "it does not come back:"; tail -20 "$work/gateway.log"; exit 1; }; health "works again"; }

play 100s load --load --inflight 4 --rate "$rate"
play 100s home --interval 250ms
sleep 5
case $what in
disk)
  dd if=/dev/zero of="$small/filler" bs=1M 2>/dev/null || true
  in_memory 0
  rm "$small/filler"
  must_work 0
  fsfreeze -f "$small"
  in_memory 1
  fsfreeze -u "$small"
  must_work 1
  ;;
errors)
  chattr +i "$image" # the loop device may not write to it any more
  in_memory 0
  chattr -i "$image"
  must_work 0
  ;;
readonly)
  mount -o remount,abort "$small"
  in_memory 0
  umount -l "$small"
  again=$(losetup -f --show "$image")
  e2fsck -fy "$again" >/dev/null 2>&1 || [ $? -le 2 ]
  mount "$again" "$small"
  must_work 0
  ;;
gone)
  mount -o remount,abort "$small"
  in_memory 0
  kill -TERM "$gateway"; wait "$gateway" || true
  umount "$small"
  e2fsck -fy "$image" >/dev/null 2>&1 || [ $? -le 2 ]
  mount "$(losetup -nO NAME -j "$image" | head -1)" "$small"
  start; answers
  ;;
slow)
  mkdir "$throttle"
  device=$(lsblk -no MAJ:MIN "$(losetup -nO NAME -j "$image" | head -1)" | tr -d ' ')
  if [ -e "$throttle/blkio.throttle.write_iops_device" ]; then
    echo "$device 1" >"$throttle/blkio.throttle.write_iops_device"
  else
    echo "$device wiops=1" >"$throttle/io.max"
  fi
  echo "$gateway" >"$throttle/cgroup.procs"
  sleep 45
  health "one write a second"
  echo "$gateway" >"$(dirname "$throttle")/cgroup.procs"
  sleep 5
  health "sound again"
  [ "$(times 'TAKES NOTHING')" = 0 ] || { echo "a slow disk was taken for one that is gone"; exit 1; }
  ;;
*)
  echo "there is no day called $what"; exit 2
  ;;
esac
end
grep -E 'TAKES NOTHING|works again' "$work/gateway.log" | cut -c1-200 || true
