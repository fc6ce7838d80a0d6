#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every leaf of every map is destroyed under a mounted pool, both copies: reads and writes go on, all is
# there, nothing is unmounted or repaired, and the pool is whole afterwards.
# runs: always
# limit: 300
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/cli_expect.sh"
needs python3

pool 512M
step "a device, a snapshot, discards"
truncate -s 256M "$mnt/vm1"
dd if=/dev/urandom of="$mnt/vm1" bs=1M count=20 conv=notrunc status=none
"$lamina" snapshot "$mnt/vm1" "$mnt/vm1@mon" >/dev/null
for i in $(seq 0 7 1400); do
  dd if=/dev/urandom of="$mnt/vm1" bs=4k count=1 seek="$((i * 9))" conv=notrunc status=none
done
fallocate -p -o 8M -l 1M "$mnt/vm1"
"$lamina" sync "$mnt"
sums() { (cd "$mnt" && sha256sum vm1 vm1@mon); }
sums >"$work/sums"
remount_pool

nodes=$(python3 "$(dirname "$0")/destroy_metadata.py" "$image" leaves)
step "destroyed under the mounted pool: $nodes"
[ "${nodes%% *}" -ge 4 ] || fail "there were hardly any"
sums | diff "$work/sums" - || fail "something is different"
dd if=/dev/urandom of="$mnt/vm1" bs=4k count=300 seek=40000 conv=notrunc,fsync status=none
sums >"$work/sums"
[ ! -s "$mnt/.lamina/lost" ] || fail "something is listed as lost"
"$lamina" sync "$mnt"
"$lamina" status "$mnt" --json |
  json 'it["rebuilt_nodes"] > 0, it["healed"] > 0, it["health"]' | grep -qxF "(True, True, 'ok')" ||
  fail "the status does not say what happened"
"$lamina" status "$mnt" | grep -q "nodes of maps that were lost" || fail "nor does it to people"

step "whole without a repair"
umount_pool
answers 0 "clean" "$lamina" check "$image" --data
mount_pool
sums | diff "$work/sums" - || fail "something is different"
