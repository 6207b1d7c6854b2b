#!/usr/bin/env bash
# Fetches the Node-RED that the example flow is tested with, in the versions of
# package-lock.json, and keeps it in the user's cache directory, so that a second
# run costs nothing. It cannot live in the checkout: npm packages bring .go files,
# and ./... would find them.
#
#   setup-node-red.sh           fetch it, if it is not there
#   setup-node-red.sh --where   print where it is or would be
set -euo pipefail
from=$(cd "$(dirname "${BASH_SOURCE[0]}")/../examples/testdata/node-red" && pwd)
lock=$(sha256sum "$from/package-lock.json" | cut -c1-16)
to=${XDG_CACHE_HOME:-$HOME/.cache}/hearthgate/node-red-$lock

if [[ ${1-} == --where ]]; then
  echo "$to"
  exit 0
fi
[[ -d $to ]] && exit 0

mkdir -p "$(dirname "$to")"
new=$(mktemp -d "$to.XXXXXX")
trap 'rm -rf "$new"' EXIT
cp "$from/package.json" "$from/package-lock.json" "$new"
echo "setup-node-red: fetching Node-RED from npm"
# Nothing of it is compiled here, and no script of a package runs.
if ! npm ci --prefix "$new" --ignore-scripts --omit=optional --no-audit --no-fund --loglevel=error \
  --fetch-retries=2 --fetch-retry-mintimeout=1000 --fetch-retry-maxtimeout=5000 --fetch-timeout=60000 >"$new/npm.log" 2>&1; then
  cat "$new/npm.log" >&2
  if grep -Eq 'EAI_AGAIN|ENOTFOUND|ENOTCACHED|ECONN|ENETUNREACH|EHOSTUNREACH|TIMEDOUT|ERR_SOCKET_TIMEOUT|E50[0-9]' "$new/npm.log"; then
    echo "setup-node-red: SKIPPED: npm is unreachable, so the example flow is not tested with Node-RED"
    exit 0
  fi
  echo "setup-node-red: npm is reachable, but could not install what package-lock.json names" >&2
  exit 1
fi
# Somebody else may have been faster; theirs is the same.
mv -T "$new" "$to" 2>/dev/null || [[ -d $to ]]
