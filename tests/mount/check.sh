#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# lamina check of a pool that is mounted: clean while it is in use, however it is named, never clean
# over damage, and it changes nothing.
# limit: 300
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/cli_expect.sh"
needs python3

pool 512M
"$lamina" create "$mnt/vm" 256M
dd if=/dev/urandom of="$mnt/vm" bs=1M count=96 conv=notrunc,fsync status=none
"$lamina" snapshot "$mnt/vm" vm@1 --read-only

step "a mounted pool is clean, by its mount and by its file"
answers 0 "clean; .* 2 devices" "$lamina" check "$mnt"
answers 0 "clean" "$lamina" check "$image"
answers 0 "96M of data verified" "$lamina" check "$mnt" --data
"$lamina" check "$mnt" --json | json '(it["verdict"], it["findings"], it["devices"])' |
  grep -qxF "('clean', [], 2)" || fail "$("$lamina" check "$mnt" --json)"
[ "$(json 'it["verdict"]' <"$mnt/.lamina/check.json")" = clean ] || fail "$(cat "$mnt/.lamina/check.json")"

step "what is written meanwhile is no damage"
touch "$work/go"
(i=0
while [ -e "$work/go" ]; do
  i=$((i + 1))
  dd if=/dev/urandom of="$mnt/vm" bs=64k count=64 seek=$((RANDOM % 2000)) conv=notrunc status=none
  "$lamina" snapshot "$mnt/vm" "s$i" >/dev/null
  [ "$i" -lt 4 ] || rm "$mnt/s$((i - 3))"
done
[ "$i" -ge 8 ]) &
writer=$!
for check in 1 2 3 4 5 6; do
  answers 0 "clean" "$lamina" check "$mnt" $([ $((check % 3)) = 0 ] && echo --data)
  sleep 0.2
done
rm "$work/go"
wait $writer || fail "too little was written meanwhile"

step "one damaged copy of a superblock, and of data"
dd if=/dev/urandom of="$image" bs=4096 count=1 conv=notrunc status=none
answers 1 "A13 .*1 of 4 superblock" "$lamina" check "$mnt"
answers 1 "DAMAGED" "$lamina" check "$image"
"$lamina" sync "$mnt"
python3 - "$image" "$mnt/vm" <<'PY'
import os, sys
device = open(sys.argv[2], "rb")
device.seek(17 << 20)
wanted = device.read(4096)
image = os.open(sys.argv[1], os.O_RDWR)
size = os.fstat(image).st_size
for at in range(0, size, 4096):
    if os.pread(image, 64, at) == wanted[:64]:
        os.pwrite(image, b"\xa5" * 64, at + 512)
        break
else:
    sys.exit("the block is nowhere")
PY
answers 1 'B6 .*device "vm" .* bytes [0-9]+ to [0-9]+' "$lamina" check "$mnt" --data
{ "$lamina" check "$mnt" --data --json || true; } | json 'it["verdict"]' | grep -qx damaged ||
  fail "damage is called clean"

step "a scrub heals the one and lists the other"
"$lamina" scrub "$mnt" >/dev/null || true
answers 1 "B6 .*is listed as lost" "$lamina" check "$mnt"
"$lamina" check "$mnt" | grep -q superblock && fail "the superblock is still damaged"

step "what is no pool"
refuses "lamina" "$lamina" check "$work"
step "done"
