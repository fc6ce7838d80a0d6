#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Images of pools that an earlier lamina made too little of (tests/fixtures): each is called damaged,
# and is served, by itself or after a repair, with nothing wrong and no more lost than was destroyed.
# limit: 120
source "$(dirname "$0")/lib.sh"
needs python3

fixtures=$top/tests/fixtures
look() { python3 "$fixtures/look.py" "$@"; }

# Mounted as it is, or repaired first if it refuses: then with what a person has to say.
serve() {
  if "$lamina" mount "$image" "$mnt" >"$work/said" 2>&1; then
    echo "served as it is"
    return
  fi
  if "$lamina" repair "$image" >"$work/said" 2>&1 || [ $? = 1 ]; then
    echo "repaired"
  else
    grep -q "(B2)" "$work/said" || fail "it can neither be mounted nor repaired: $(cat "$work/said")"
    "$lamina" repair "$image" --accept-suspect >"$work/said" 2>&1 || [ $? = 1 ] ||
      fail "it cannot be repaired at all: $(cat "$work/said")"
    echo "repaired, and what is suspect accepted"
  fi
  "$lamina" mount "$image" "$mnt"
}

for packed in "$fixtures"/*.img.xz; do
  name=$(basename "${packed%.img.xz}")
  step "$name"
  look unpack "$name" "$image"
  set +e
  "$lamina" check "$image" --data >"$work/found" 2>&1
  code=$?
  set -e
  [ $code = 1 ] || [ $code = 3 ] || fail "it is called clean (exit code $code): $(cat "$work/found")"
  how=$(serve)
  echo "        $how"
  case $name in
    # What only the destroyed records said is gone; nobody can tell more than a person accepts.
    two_records_in_a_row) look compare "$name" "$mnt" 40 || [ "$how" != "served as it is" ] ||
      fail "something is wrong, and nobody was told" ;;
    *) look compare "$name" "$mnt" 0 || fail "something is wrong or lost" ;;
  esac
  "$lamina" umount "$mnt"
  if [ "$how" = "served as it is" ]; then
    "$lamina" mount "$image" "$mnt"
    "$lamina" scrub "$mnt" >/dev/null || fail "scrubbing finds lost data"
    "$lamina" umount "$mnt"
    # A record's header is not written anew: what it said is in the segment's summary by now.
    "$lamina" check "$image" --data >"$work/found" 2>&1 || true
    grep -v -e "^B1 .*a record's header" -e '^pool "' "$work/found" && fail "damage is left"
  fi
  rm -f "$image"
done
step "done"
