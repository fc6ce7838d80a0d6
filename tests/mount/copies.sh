#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Copies as people make them: cp, copy_file_range and qemu-img share what they can, hold what they
# should, and answer what a file system answers.
# runs: always
# limit: 180
source "$(dirname "$0")/lib.sh"
needs python3 cmp
copy="python3 $(dirname "$0")/copy_range.py"

used() { "$lamina" sync "$mnt"; stat -f -c '%b %f' "$mnt" | awk '{ print $1 - $2 }'; }

pool 512M

step "cp of a device without holes shares it, at once"
head -c 24M /dev/urandom >"$work/data"
cp "$work/data" "$mnt/a"
before=$(used)
cp "$mnt/a" "$mnt/b"
cmp "$mnt/b" "$work/data" || fail "b is not what was copied"
[ "$(used)" -le $((before + 256)) ] || fail "a copy took $(($(used) - before)) blocks"
[ "$(stat -c '%s %b' "$mnt/b")" = "$(stat -c '%s %b' "$mnt/a")" ] || fail "size or st_blocks"
cp --sparse=never --reflink=never "$mnt/a" "$mnt/c"
cmp "$mnt/c" "$work/data" || fail "c is not what was copied"

step "neither side sees what the other becomes"
head -c 1M /dev/urandom >"$work/other"
dd if="$work/other" of="$mnt/b" bs=1M seek=5 conv=notrunc,fsync status=none
cmp "$mnt/a" "$work/data" || fail "a changed with b"
dd if="$work/other" of="$mnt/a" bs=1M seek=9 conv=notrunc,fsync status=none
cmp -n 1048576 -i $((9 << 20)):$((9 << 20)) "$mnt/b" "$work/data" || fail "b changed with a"

step "ranges of any alignment"
cp "$work/data" "$work/expected"
cp --reflink=never "$work/data" "$mnt/d"
for range in "0 1000000 4096" "4096 8388608 15000000" "100 10000100 3000000" "7 31 500000" \
  "25000000 10000000 99999"; do
  # shellcheck disable=SC2086
  $copy "$work/data" "$work/expected" $range >/dev/null || fail "copying $range in $work"
  # shellcheck disable=SC2086
  $copy "$mnt/c" "$mnt/d" $range >/dev/null || fail "copying $range"
done
cmp "$mnt/d" "$work/expected" || fail "d is not what the same copies make elsewhere"
remount_pool
cmp "$mnt/d" "$work/expected" || fail "d, found again"

step "within one device, and what is refused"
$copy "$mnt/d" "$mnt/d" 0 $((12 << 20)) $((12 << 20)) >/dev/null || fail "within one device"
cmp -n $((12 << 20)) -i 0:$((12 << 20)) "$mnt/d" "$mnt/d" || fail "its halves differ"
[ "$($copy "$mnt/d" "$mnt/d" 0 4096 8192 2>&1)" = EINVAL ] || fail "over itself"
[ "$($copy "$mnt/a" "$mnt/d" $((24 << 20)) 0 4096)" = 0 ] || fail "past the end"
setfattr -n user.lamina.read_only -v 1 "$mnt/b"
[ "$($copy "$mnt/a" "$mnt/b" 0 0 4096 2>&1)" = EROFS ] || fail "into a read-only device"
[ "$(cp "$mnt/.lamina/version" "$mnt/version" && cat "$mnt/version")" = "$(cat "$mnt/.lamina/version")" ] ||
  fail "a copy of what is no device"

step "a full pool shares, and says so where what is shared would be written"
head -c 1G /dev/zero | tr '\0' x >"$mnt/full" 2>/dev/null && fail "1 GiB fitted"
truncate -s 1G "$mnt/e"
$copy "$mnt/full" "$mnt/e" 0 $((512 << 20)) $((128 << 20)) >/dev/null || fail "sharing in a full pool"
cmp -n $((128 << 20)) -i 0:$((512 << 20)) "$mnt/full" "$mnt/e" || fail "what a full pool shared"
dd if=/dev/urandom of="$mnt/e" bs=1M seek=512 count=128 conv=notrunc,fsync status=none 2>"$work/said" &&
  fail "128 MiB more fitted"
grep -q "No space left" "$work/said" || fail "$(cat "$work/said")"
rm "$mnt/full" "$mnt/e"

step "qemu-img makes what it always made"
if command -v qemu-img >/dev/null; then
  qemu-img convert -f raw -O raw "$mnt/a" "$mnt/f"
  cmp "$mnt/a" "$mnt/f" || fail "qemu-img convert"
fi
