#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Images of pools that an earlier lamina made too little of (tests/fixtures): each is called damaged,
# and is served, by itself or after a repair, with nothing wrong and no more lost than was destroyed.
# limit: 300
source "$(dirname "$0")/lib.sh"
needs python3

fixtures=$top/tests/fixtures
look() { python3 "$fixtures/look.py" "$@"; }

# Mounted as it is, or repaired first if it refuses: then with what a person has to say. Or its maps
# are not believed.
serve() {
  if [ "$name" = segment_that_states_copies ]; then
    "$lamina" repair "$image" --rebuild >"$work/said" 2>&1 || [ $? = 1 ] || fail "$(cat "$work/said")"
    "$lamina" mount "$image" "$mnt"
    echo "rebuilt"
    return
  fi
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
    # What only the destroyed records said is gone, and what it may have covered is in doubt: that
    # is EIO until a person accepts it, and never an older version before.
    two_records_in_a_row | beginning_of_a_log_segment) look compare "$name" "$mnt" 999999 ||
      [ "$how" = "repaired, and what is suspect accepted" ] ||
      fail "something is wrong, and nobody was told" ;;
    # Nobody can tell which devices were written since; it was one.
    log_since_a_snapshot)
      for device in "$mnt"/vm*; do "$lamina" set "$device" suspect=accept; done
      look compare "$name" "$mnt" 0 other || fail "something is wrong or lost" ;;
    # It held data too, some of it four times.
    segment_that_states_copies) look compare "$name" "$mnt" 512 || fail "something is wrong or lost" ;;
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
