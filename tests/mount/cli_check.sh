#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# check and inspect: a whole pool is clean, each kind of damage is found and named, nothing is
# changed by looking.
# runs: always
# limit: 240
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/cli_expect.sh"
needs python3

damage() { dd if=/dev/urandom of="$image" bs=4096 seek=$(($1 / 4096)) count="${2:-1}" conv=notrunc status=none; }

pool 256M
dd if=/dev/urandom of="$mnt/a" bs=1M count=16 status=none
truncate -s 1G "$mnt/b"
"$lamina" snapshot "$mnt/a" a@1
umount_pool
cp --sparse=always "$image" "$work/whole.img"
restore() { cp --sparse=always "$work/whole.img" "$image"; }

step "a whole pool is clean, and looking changes nothing"
before=$(sha256sum <"$image")
answers 0 "clean" "$lamina" check "$image"
answers 0 "[^0-9]16M of data verified" "$lamina" check "$image" --data  # what is shared once
"$lamina" check "$image" --json | json '(it["verdict"], it["findings"], it["devices"])' |
  grep -qxF "('clean', [], 3)" || fail "$("$lamina" check "$image" --json)"
[ "$before" = "$(sha256sum <"$image")" ] || fail "check changed the pool"

step "inspect says what a block is"
answers 0 "^superblock" "$lamina" inspect "$image"
answers 0 "^checkpoint slot" "$lamina" inspect "$image@68K"
answers 0 "^segment header" "$lamina" inspect "$image@1M"
answers 0 "^00000000 .*\|" "$lamina" inspect "$image" --hex
"$lamina" inspect "$image" --json | json 'it["kind"]' | grep -qx superblock
refuses "ends at" "$lamina" inspect "$image@1T"
if "$lamina" inspect "$image" | grep -qi secret; then fail "inspect shows the secret"; fi

step "a damaged superblock copy"
damage 0
answers 1 "A13 .*1 of 4 superblock" "$lamina" check "$image"
{ "$lamina" check "$image" --json || true; } | json 'it["verdict"]' | grep -qx damaged
restore

step "a damaged slot"
slot=$("$lamina" inspect "$image@64K" --json | json '65536')
for place in 64K 68K 72K 76K 80K 84K 88K 92K; do
  "$lamina" inspect "$image@$place" | grep -q "^checkpoint slot" && slot=$((${place%K} * 1024))
done
damage "$slot"
answers 1 "A13" "$lamina" check "$image"
restore

step "damaged data is found with --data, by device and offset"
# The data of the device, wherever it lies: the first segment that holds a long run of it.
python3 - "$image" "$work/whole.img" <<'PY'
import os, sys
image = open(sys.argv[1], "r+b")
image.seek(0, os.SEEK_END)
size = image.tell()
# A block of random bytes with random neighbours far from all metadata: in the middle of the run.
run = 0
for at in range(1 << 20, size - (1 << 20), 4096):
    image.seek(at)
    block = image.read(4096)
    run = run + 1 if len(set(block)) > 200 else 0
    if run == 64:
        image.seek(at - 32 * 4096)
        image.write(b"\xa5" * 4096)
        break
else:
    sys.exit("no data found")
PY
answers 0 "clean" "$lamina" check "$image"
answers 1 'B6 .*device "a" .* bytes [0-9]+ to [0-9]+' "$lamina" check "$image" --data
answers 1 'B6 .*device "a@1" .* bytes [0-9]+ to [0-9]+' "$lamina" check "$image" --data
restore

step "a slot that a crash has torn is no damage, one that was complete is"
mount_pool
setfattr -n user.lamina.checkpoint -v 1 "$mnt"
dd if=/dev/urandom of="$mnt/a" bs=4k count=1 conv=notrunc,fsync status=none
kill_daemon
# spoil_slot BEHIND: both copies of the slot so many places behind the newest; 0: one, of that.
spoil_slot() {
  python3 - "$image" "$1" <<'PY'
import os, sys
SLOTS, BLOCK, EDGE = 8, 4096, 1 << 20
behind = int(sys.argv[2])
with open(sys.argv[1], "r+b") as image:
    size = image.seek(0, os.SEEK_END)
    rings = [64 << 10, size - EDGE + (64 << 10)]
    numbers = []
    for place in range(SLOTS):
        image.seek(rings[0] + place * BLOCK)
        block = image.read(24)
        if block[:8] == b"LAMINASL":
            numbers.append(int.from_bytes(block[16:24], "little"))
    place = (max(numbers) + behind) % SLOTS
    for ring in rings if behind else rings[1:]:
        image.seek(ring + place * BLOCK + 2048)
        image.write(os.urandom(BLOCK - 2048))
PY
}
answers 0 "clean" "$lamina" check "$image"
spoil_slot 1
answers 0 "clean" "$lamina" check "$image"
"$lamina" mount "$image" "$mnt" -o ro
answers 3 "is mounted read-only .*by its own name" "$lamina" check "$mnt"
answers 0 "clean" "$lamina" check "$image"
umount_pool
spoil_slot 0
answers 1 "A13 .*slot" "$lamina" check "$image"
"$lamina" mount "$image" "$mnt" -o ro
answers 1 "A13 .*slot" "$lamina" check "$image"
umount_pool
restore

step "no superblock at all"
damage 0
damage 32768
damage $(($(stat -c %s "$image") - 4096))
middle=$("$lamina" inspect "$work/whole.img" --json |
  json '[int(f["value"]) for f in it["fields"] if f["name"] == "middle copy at"][0]')
damage "$middle"
refuses "lamina" "$lamina" check "$image"
refuses "lamina" "$lamina" mount "$image" "$mnt"
step "done"
