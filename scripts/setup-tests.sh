#!/usr/bin/env bash
# Installs what the tests need and the Go module does not bring along: a real
# MQTT broker with its command line clients, what else the cookbook uses, emulators
# for the ARM builds, npm for Node-RED (setup-node-red.sh), and the C compiler that
# Go's race detector links with. What is there already is left alone, so that a
# second run costs nothing and needs no rights.
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"

# command it brings : Debian package
needs=(
  mosquitto:mosquitto
  mosquitto_pub:mosquitto-clients
  mosquitto_sub:mosquitto-clients
  qemu-aarch64-static:qemu-user-static
  qemu-arm-static:qemu-user-static
  curl:curl
  jq:jq
  openssl:openssl
  node:nodejs
  npm:npm
  gcc:gcc
)

missing=()
for need in "${needs[@]}"; do
  package=${need#*:}
  if ! command -v "${need%%:*}" >/dev/null && [[ " ${missing[*]-} " != *" $package "* ]]; then
    missing+=("$package")
  fi
done
# gcc only recommends the headers that it cannot link without.
if [[ " ${missing[*]-} " == *" gcc "* ]]; then
  missing+=(libc6-dev)
fi
if ((${#missing[@]} == 0)); then
  exit 0
fi

cannot() {
  echo "setup-tests: $1; the tests need: ${missing[*]}" >&2
  echo "setup-tests: install them by hand, on Debian: apt-get install ${missing[*]}" >&2
  exit 1
}

command -v apt-get >/dev/null || cannot "there is no apt-get here"
as_root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || cannot "not root, and there is no sudo"
  sudo -n true 2>/dev/null || [[ -t 0 ]] || cannot "sudo asks for a password, and there is nobody to type it"
  as_root=(sudo)
fi

# The tests start brokers of their own, so the package must not start one:
# while this file exists, Debian's service scripts start nothing (policy-rc.d(8)).
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 0755 "$policy"
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi

echo "setup-tests: installing ${missing[*]}"
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300)
"${apt[@]}" update || cannot "apt-get update failed"
"${apt[@]}" install --no-install-recommends "${missing[@]}" || cannot "apt-get install failed"

# Nor may it start at the next boot, where it would hold our port.
if [[ " ${missing[*]} " == *" mosquitto "* ]] && command -v systemctl >/dev/null; then
  "${as_root[@]}" systemctl disable mosquitto.service >/dev/null 2>&1 || true
fi
