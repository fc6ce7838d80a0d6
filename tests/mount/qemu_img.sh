#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# qemu-img create, convert, compare and map on files of the pool, both ways and with qcow2.
# runs: always
# limit: 300
source "$(dirname "$0")/lib.sh"
needs qemu-img qemu-io python3

pool 2G
size=$((64 * 1024 * 1024))
plain=$work/plain.raw
step "a source image with data, holes and an odd end"
truncate -s $((size + 512)) "$plain"
dd if=/dev/urandom of="$plain" bs=1M count=5 conv=notrunc status=none
dd if=/dev/urandom of="$plain" bs=4k count=7 seek=5000 conv=notrunc status=none
dd if=/dev/urandom of="$plain" bs=64k count=33 seek=700 conv=notrunc status=none

step "convert into the pool, with and without the page cache; compare"
qemu-img convert -f raw -O raw "$plain" "$mnt/a"
qemu-img compare -f raw -F raw "$plain" "$mnt/a"
qemu-img convert -t none -T none -f raw -O raw "$plain" "$mnt/b"
qemu-img compare -f raw -F raw "$mnt/a" "$mnt/b"
cmp "$plain" "$mnt/b"

step "map: the same data and holes as the plain file"
data_of() {
  # Data that is not zero, as ranges; neighbours joined. Zeroes may be holes in one and data in
  # the other, so the plain file's zero blocks are dug out first.
  qemu-img map --output=json -f raw "$1" | python3 -c '
import json, sys
ranges = []
for r in json.load(sys.stdin):
    if not r["data"] or r["zero"]: continue
    if ranges and ranges[-1][1] == r["start"]: ranges[-1][1] += r["length"]
    else: ranges.append([r["start"], r["start"] + r["length"]])
print(ranges)'
}
fallocate --dig-holes "$plain"
[ "$(data_of "$plain")" = "$(data_of "$mnt/a")" ] || {
  data_of "$plain"
  data_of "$mnt/a"
  fail "qemu-img map differs"
}

step "through qcow2 and back; a snapshot-free image compares equal"
qemu-img convert -f raw -O qcow2 "$mnt/a" "$work/a.qcow2"
qemu-img compare -f qcow2 -F raw "$work/a.qcow2" "$mnt/a"
qemu-img convert -f qcow2 -O raw "$work/a.qcow2" "$mnt/c"
qemu-img compare -f raw -F raw "$plain" "$mnt/c"

step "a qcow2 on the pool is just a file"
qemu-img create -q -f qcow2 "$mnt/q.qcow2" 1G
qemu-io -c 'write -P 0x5a 100M 1M' -c 'discard 100M 64k' "$mnt/q.qcow2" >/dev/null
qemu-img check "$mnt/q.qcow2" >/dev/null

step "create, write zeroes, discard and read by qemu-io with every kind of asynchronous I/O"
qemu-img create -q -f raw "$mnt/d" 256M
for aio in threads io_uring native; do
  qemu-io -t none -i $aio -f raw -c 'write -P 7 1M 3M' -c 'write -z 2M 512k' -c 'discard 3M 64k' \
    -c 'flush' -c 'read -P 7 1M 1M' -c 'read -P 0 2M 512k' -c 'read -P 0 3M 64k' "$mnt/d" \
    >"$work/io.log" 2>&1 || { cat "$work/io.log"; fail "qemu-io with $aio"; }
  ! grep -qi 'fail\|pattern ver' "$work/io.log" || { cat "$work/io.log"; fail "qemu-io with $aio"; }
done

remount_pool
step "after a remount"
qemu-img compare -f raw -F raw "$plain" "$mnt/a"
qemu-img check "$mnt/q.qcow2" >/dev/null
step "passed"
