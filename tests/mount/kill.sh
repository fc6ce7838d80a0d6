#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kill -9 of the daemon in the middle of fsync-heavy and of O_DSYNC writing, again and again:
# everything that was synced is found, and what is found is a prefix of what was written. Un-synced
# writing is all found when the daemon dies two seconds after it stopped.
# runs: always
# limit: 400
source "$(dirname "$0")/lib.sh"
needs python3

rounds=3
[ -z "$long" ] || rounds=40
blocks=20000
writer() { python3 "$top/tests/mount/kill_writer.py" "$@"; }

pool 1G
for ((round = 1; round <= rounds; round++)); do
  for mode in fsync dsync rwf_dsync unsynced; do
    name=$mode-$round
    # The device is durable before the writing begins; all else is the writer's doing.
    "$lamina" create "$mnt/$name" $((blocks * 4096))
    "$lamina" sync "$mnt"
    rm -f "$work/state.begun"
    if [ $mode = unsynced ]; then
      writer write "$mnt/$name" "$work/state" $mode $blocks
      sleep 2
    else
      writer write "$mnt/$name" "$work/state" $mode $blocks &
      job=$!
      until [ -e "$work/state.begun" ]; do sleep 0.02; done
      sleep "0.$((RANDOM % 8 + 1))"
    fi
    kill_daemon
    [ $mode = unsynced ] || wait $job || fail "the writer failed"
    mount_pool
    writer check "$mnt/$name" "$work/state" || fail "$name"
    "$lamina" rm "$mnt/$name"
  done
  step "round $round of $rounds"
done
step "passed"
