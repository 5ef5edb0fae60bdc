#!/usr/bin/env bash
# checks.sh NAME...: runs make NAME for each, goes on after one that failed, and says
# at the end, however it ends, what ran and how long it took. Exits 1 if one failed.
#
# A+B+C runs C, whose tests often wait, and beside it at the lowest priority A and then
# B, which compile and the like. What those print comes when all three are done.
set -uo pipefail
cd "$(dirname "$0")/.."
took=() # a line a check, as it is shown
failed=0
running=
start=$SECONDS
aside=$(mktemp -d) # a folder for what runs beside

# line WHAT NAME SECONDS
line() { printf '  %-7s %-11s %2d min %2d s\n' "$1" "$2" $(($3 / 60)) $(($3 % 60)); }

report() {
  trap '' INT TERM
  if [ -n "$running" ]; then took+=("$(line stopped "$running" $((SECONDS - since)))"); fi
  if [ -n "${beside:-}" ]; then kill -- "-$beside" 2>/dev/null; fi
  rm -rf "$aside"
  printf '\nWhat ran:\n'
  printf '%s\n' "${took[@]}" "$(line total '' $((SECONDS - start)))"
}
trap report EXIT
trap 'exit 130' INT TERM

# check NAME: its line goes into the file $aside/lines.
check() {
  local since=$SECONDS what=ok
  make --no-print-directory "$1" || what=FAILED
  line "$what" "$1" $((SECONDS - since)) >>"$aside/lines"
  [ "$what" = ok ]
}

for names in "$@"; do
  : >"$aside/lines"
  since=$SECONDS beside=
  if [ "$names" != "${names%+*}" ]; then
    set -m # a process group of its own, for report to end
    (
      status=0
      for name in $(tr + ' ' <<<"${names%+*}"); do check "$name" || status=1; done
      exit "$status"
    ) </dev/null >"$aside/out" 2>&1 &
    beside=$!
    set +m
    renice -n 19 -g "$beside" >/dev/null
  fi
  running=${names##*+}
  check "$running" || failed=1
  running=
  if [ -n "$beside" ]; then
    wait "$beside" || failed=1
    beside=
    cat "$aside/out"
  fi
  mapfile -t lines <"$aside/lines"
  took+=("${lines[@]}")
done
exit "$failed"
