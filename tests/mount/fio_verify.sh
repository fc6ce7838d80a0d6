#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# fio writes at random with a checksum in every block; every block verifies at once, after a
# remount, and after the next round of writing over them, with remounts in between.
# runs: always
# limit: 300
source "$(dirname "$0")/lib.sh"
needs fio

mib=192
rounds=2
[ -z "$long" ] || { mib=2048; rounds=8; }
pool $((mib * 4))M
"$lamina" create "$mnt/a" ${mib}M
"$lamina" create "$mnt/b" ${mib}M

# fio_on FILE SEED [options]: the same seed writes and verifies the same blocks.
fio_on() {
  local file=$1 seed=$2
  shift 2
  fio --name=verify --filename="$mnt/$file" --direct=1 --ioengine=libaio --iodepth=32 \
    --rw=randwrite --randrepeat=0 --randseed="$seed" --size=${mib}M --verify=crc32c --verify_fatal=1 \
    --verify_state_save=0 --output="$work/fio.log" "$@" || {
    cat "$work/fio.log"
    fail "fio on $file, seed $seed $*"
  }
}

for ((round = 1; round <= rounds; round++)); do
  step "round $round: blocks of 4K on a, of 512 bytes to 64K on b, verified at once"
  fio_on a "$round" --bs=4k --do_verify=1
  fio_on b "$round" --bsrange=512-64k --bs_unaligned=0 --blockalign=512 --do_verify=0 --end_fsync=1
  remount_pool
  step "round $round: after a remount"
  fio_on a "$round" --bs=4k --verify_only=1
  fio_on b "$round" --bsrange=512-64k --bs_unaligned=0 --blockalign=512 --verify_only=1
done
step "passed"
