#!/usr/bin/env bash
# Builds static, stripped binaries for small boards (and for x86-64) into dist/:
#
#   deploy/arm/build.sh [arm64|armv7|armv6|amd64]...     all four if none is named
#
# VERSION is stamped in; by default git says it. OUT is another place than dist/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

version=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo dev)}
out=${OUT:-dist}
targets=("$@")
((${#targets[@]})) || targets=(arm64 armv7 armv6 amd64)

build() { # <directory in cmd> <name of the binary> <target>
  local arch=$3 arm=''
  case $3 in
    arm64 | amd64) ;;
    armv6 | armv7) arch=arm arm=${3#armv} ;;
    *) echo "build.sh: no target $3; there are arm64, armv7, armv6 and amd64" >&2; exit 2 ;;
  esac
  CGO_ENABLED=0 GOOS=linux GOARCH=$arch GOARM=$arm go build -trimpath \
    -ldflags "-s -w -X main.version=$version" -o "$out/linux-$3/$2" "./cmd/$1"
}

for target in "${targets[@]}"; do
  build gateway hearthgate "$target"
  build device-sim hearthgate-sim "$target"
done

printf '%-10s %-14s %9s   version %s\n' target binary MiB "$version"
for target in "${targets[@]}"; do
  for binary in hearthgate hearthgate-sim; do
    bytes=$(wc -c <"$out/linux-$target/$binary")
    printf '%-10s %-14s %9s\n' "$target" "$binary" "$(awk "BEGIN { printf \"%.2f\", $bytes / 1048576 }")"
  done
done
