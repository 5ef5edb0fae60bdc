#!/usr/bin/env bash
# fuzz.sh TIME: runs every fuzz target of the module for TIME (as -fuzztime) and
# exits 1 if one failed. Seeds and past findings already run with the tests.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:?usage: fuzz.sh TIME}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# targets: a line "PACKAGE FUNCTION" each. go test -list prints a package's
# functions and then the package.
targets() {
  go test -list '^Fuzz' ./... | awk '
    /^Fuzz/ { names[n++] = $1 }
    $1 == "ok" { for (i = 0; i < n; i++) print $2, names[i]; n = 0 }'
}

# Making an interesting input small may take a minute by default, in which nothing new is tried.
fuzz() { go test -run '^$' -fuzz "^$2\$" -fuzztime "$time" -fuzzminimizetime 2s "$1" >"$log" 2>&1; }

# Go 1.26 sometimes reports its own deadline at the end of -fuzztime as a
# failure (go.dev/issue/75804, fixed in 1.27): that, and no finding, is tried again.
deadline_race() {
  grep -qE '^ +context deadline exceeded$' "$log" && ! grep -qE 'Failing input written|panic:|_test\.go:' "$log"
}

list=$(targets)
if [ -z "$list" ]; then
  echo 'no fuzz target found' >&2
  exit 1
fi
failed=0
while read -r package name; do
  echo "$package $name"
  if fuzz "$package" "$name" || { deadline_race && fuzz "$package" "$name"; }; then
    grep '^fuzz: elapsed' "$log" | tail -n 1
  else
    failed=$((failed + 1))
    cat "$log"
  fi
done <<<"$list"
if [ "$failed" -gt 0 ]; then
  echo "$failed fuzz targets failed" >&2
  exit 1
fi
