#!/usr/bin/env bash
# checks.sh NAME...: runs make NAME for each, goes on after one that failed, and says
# at the end, however it ends, what ran and how long it took. Exits 1 if one failed.
set -uo pipefail
cd "$(dirname "$0")/.."
took=() # a line a check, as it is shown
failed=0
running=
start=$SECONDS

# line WHAT NAME SECONDS
line() { printf '  %-7s %-11s %2d min %2d s' "$1" "$2" $(($3 / 60)) $(($3 % 60)); }

report() {
  if [ -n "$running" ]; then took+=("$(line stopped "$running" $((SECONDS - since)))"); fi
  printf '\nWhat ran:\n'
  printf '%s\n' "${took[@]}" "$(line total '' $((SECONDS - start)))"
}
trap report EXIT
trap 'exit 130' INT TERM

for name in "$@"; do
  running=$name since=$SECONDS
  if make --no-print-directory "$name"; then
    what=ok
  else
    what=FAILED
    failed=1
  fi
  running=
  took+=("$(line "$what" "$name" $((SECONDS - since)))")
done
exit "$failed"
