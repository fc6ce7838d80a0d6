#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A pool that is kept 95 % full is overwritten for three times its size, and every block verifies;
# then it is filled up, overwritten at 100 %, emptied by a thousand deletions at once, and takes as
# much again.
# runs: always
# limit: 240
source "$(dirname "$0")/lib.sh"
needs fio

mib=1024 times=3
[ -z "$long" ] || times=10
pool ${mib}M
size=$(status size)
device=$((size * 95 / 100 >> 20))
"$lamina" create "$mnt/disk" ${device}M

overwrite() {
  local seed=$1
  shift
  fio --name=verify --filename="$mnt/disk" --direct=1 --ioengine=libaio --iodepth=32 --bs=4k \
    --rw=randwrite --randrepeat=0 --randseed="$seed" --size=${device}M --verify=crc32c --verify_fatal=1 \
    --verify_state_save=0 --do_verify=0 --output="$work/fio.log" "$@" || {
    cat "$work/fio.log"
    fail "fio, seed $seed $*"
  }
}

step "a pool of $mib MiB, $device MiB of its $((size >> 20)) in use, $times times over"
for ((round = 0; round <= mib * times / device; round++)); do overwrite $round --end_fsync=1; done
used=$(status used)
[ "$used" -gt $((size * 93 / 100)) ] || fail "only $used of $size bytes are in use"
[ "$(status space_warning)" = 95 ] || [ "$(status space_warning)" = 90 ] || fail "no warning"
step "written to the medium: $(status write_amplification) x; now it verifies, and after a remount"
overwrite $((round - 1)) --verify_only=1
remount_pool
overwrite $((round - 1)) --verify_only=1

step "a thousand devices until it is full; the disk is still overwritten"
for i in $(seq 1000); do echo "$i" >"$mnt/small-$i"; done
! dd if=/dev/urandom of="$mnt/rest" bs=64K count=$((mib * 16)) status=none 2>/dev/null ||
  fail "it all fitted"
overwrite 1000 --io_size=$((device / 2))M --end_fsync=1
step "all are deleted at once, and what they had is there again"
rm "$mnt"/small-* "$mnt/rest" "$mnt/disk"
[ -z "$(ls "$mnt")" ] || fail "something is left"
"$lamina" create "$mnt/disk" ${device}M
overwrite 2000 --rw=write --bs=64k --end_fsync=1
overwrite 2000 --rw=write --bs=64k --verify_only=1
umount_pool
"$lamina" check "$image" --data >/dev/null || fail "check found damage"
step "passed"
