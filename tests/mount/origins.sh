#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# External origins: a real image, made by `qemu-img convert`, is read through by several devices that
# diverge; it is never changed; when it changes behind the pool's back that is EIO and listed, until
# somebody accepts it. Images that cannot be one are refused with what to do.
# runs: always
# limit: 300
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/cli_expect.sh"
needs python3 qemu-img mkfs.ext4 e2fsck losetup

images=$work/images
mkdir "$images" "$work/elsewhere" "$work/tree"
cat >"$work/pool.yaml" <<YAML
pool: origins
blobs:
  - {name: fast, kind: journal, path: $image, tier: 0}
origins: [$images]
YAML
truncate -s 256M "$image"
"$lamina" format "$work/pool.yaml" >/dev/null
start() { "$lamina" mount "$work/pool.yaml" "$mnt"; }
start
sum() { sha256sum <"$1" | cut -d' ' -f1; }

step "a real image: ext4 in a qcow2, converted to raw"
cp -r "$top/engine" "$top/src" "$work/tree"
truncate -s 48M "$work/disk"
mkfs.ext4 -q -F -d "$work/tree" "$work/disk"
qemu-img convert -O qcow2 "$work/disk" "$images/base.qcow2"
qemu-img convert -O raw "$images/base.qcow2" "$images/base.raw"
base=$(sum "$images/base.raw")

step "several devices over it"
for i in 1 2 3; do "$lamina" create "$mnt/vm$i" --origin "$images/base.raw"; done
for i in 1 2 3; do
  [ "$(stat -c %s "$mnt/vm$i")" = "$(stat -c %s "$images/base.raw")" ] || fail "the size of vm$i"
  [ "$(sum "$mnt/vm$i")" = "$base" ] || fail "vm$i is not as the image is"
done
[ "$("$lamina" ls "$mnt" --json | json 'sum(d["mapped"] for d in it)')" = 0 ] || fail "it takes space"
[ "$("$lamina" get "$mnt/vm1" origin_file)" = "$images/base.raw" ] || fail "origin_file"
answers 0 "base.raw +48M +3 +ok" "$lamina" origin "$mnt/vm1"
answers 0 "origin +$images/base.raw, of 3 devices: ok" "$lamina" status "$mnt"
answers 0 "data +$images/base.raw" "$lamina" map "$mnt/vm1"
tar -C "$mnt" -cSf - vm1 | tar -xOf - vm1 | cmp - "$images/base.raw" || fail "tar takes it for empty"

step "file systems in them, which diverge"
for i in 1 2; do
  loop=$(attach "vm$i")
  mkdir "$work/fs$i"
  mount "$loop" "$work/fs$i"
  diff -r "$work/fs$i/engine" "$top/engine" || fail "the tree in vm$i"
  head -c 3000000 /dev/urandom >"$work/fs$i/own"
  rm -r "$work/fs$i/src"
  cp "$work/fs$i/own" "$work/own$i"
done
"$lamina" snapshot "$mnt/vm1" vm1@1
for i in 1 2; do
  cmp "$work/fs$i/own" "$work/own$i"
  fstrim "$work/fs$i"
  umount "$work/fs$i"
  "$lamina" detach "$mnt/vm$i" >/dev/null
  e2fsck -fn "$mnt/vm$i" >/dev/null 2>&1 || fail "fsck of vm$i"
done
[ "$(sum "$mnt/vm3")" = "$base" ] || fail "what others wrote shows in vm3"
[ "$(sum "$images/base.raw")" = "$base" ] || fail "the image was changed"

step "clones, copies, a discard, a crash"
"$lamina" clone "$mnt/vm3" vm4
"$lamina" create "$mnt/copy" 48M
dd if=/dev/urandom of="$mnt/copy" bs=4k count=1 conv=notrunc status=none
python3 "$top/tests/mount/copy_range.py" "$mnt/vm3" "$mnt/copy" 0 0 $((48 << 20)) >/dev/null
fallocate -p -o 0 -l 1M "$mnt/vm4"
cmp -n 1048576 "$mnt/vm4" /dev/zero || fail "what was discarded shows the image"
sync "$mnt/vm4" "$mnt/copy"
own=$(sum "$mnt/vm1")
kill_daemon
start
[ "$(sum "$mnt/copy")" = "$base" ] || fail "the copy, after a crash"
[ "$(sum "$mnt/vm1")" = "$own" ] || fail "vm1, after a crash"
cmp -n 1048576 "$mnt/vm4" /dev/zero || fail "the discard is forgotten"

step "whoever wants to write to the image waits until the pool has seen it"
python3 - "$images/base.raw" "$mnt/vm3" <<'PY'
import os, sys, time
image, device = sys.argv[1:]
at = time.monotonic()
f = os.open(image, os.O_RDWR)
waited = time.monotonic() - at
print(f"       it waited for {waited:.2f} s")
assert waited < 10, waited
# It has not been written to yet.
d = os.open(device, os.O_RDONLY | os.O_DIRECT)
os.close(d)
with open(device, "rb") as it: it.read(4096)
times = os.stat(image)
os.pwrite(f, b"behind its back", 8 << 20)
os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))  # and nobody is to know
os.close(f)
try:
    with open(device, "rb", buffering=0) as it:
        os.posix_fadvise(it.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        it.seek(8 << 20)
        it.read(4096)
    sys.exit("what was written behind its back was read")
except OSError as e:
    assert e.errno == 5, e
PY
lost() { cat "$mnt/.lamina/lost"; }
lost | grep -q " vm3$" || fail "vm3 is not listed: $(lost)"
[ "$(lost | awk '$4 == "vm3" { s += $2 } END { print s }')" = $((48 << 20)) ] || fail "not all of vm3"
lost | awk '$4 == "vm1" { s += $2 } END { exit !(s > 0 && s < 48 * 1024 * 1024) }' || fail "of vm1"
answers 1 "touched|modified" "$lamina" origin "$mnt/vm3"
dd if=/dev/urandom of="$mnt/vm3" bs=1M count=1 conv=notrunc,fsync status=none

step "accepted, it is read as it is now"
"$lamina" origin "$mnt/vm3" --accept >/dev/null
[ -z "$(lost)" ] || fail "still listed: $(lost)"
cmp -i 1M "$mnt/vm3" "$images/base.raw" || fail "vm3 is not as the image is now"
refuses "no external origin of the device has changed" "$lamina" origin "$mnt/vm3" --accept

step "gone, and somewhere else"
umount_pool
mv "$images/base.raw" "$work/elsewhere/"
start
cat "$mnt/vm2" >/dev/null 2>&1 && fail "an image that is gone was read"
answers 1 "no such file" "$lamina" origin "$mnt/vm2"
refuses "no such file" "$lamina" origin "$mnt/vm2" --accept
refuses "below no directory" "$lamina" origin "$mnt/vm2" --moved-to "$work/elsewhere/base.raw"
umount_pool
answers 1 "C7 .*no such file" "$lamina" check "$work/pool.yaml"
start
mv "$work/elsewhere/base.raw" "$images/new.raw"
"$lamina" origin "$mnt/vm2" --moved-to "$images/new.raw" >/dev/null
e2fsck -fn "$mnt/vm2" >/dev/null 2>&1 || fail "fsck of vm2 over the image that was moved"
umount_pool
answers 0 "clean" "$lamina" check "$work/pool.yaml" --data
start

step "shorter, longer, not aligned"
head -c 1000001 /dev/urandom >"$images/odd.raw"
"$lamina" create "$mnt/odd" --origin "$images/odd.raw"
cmp "$mnt/odd" "$images/odd.raw" || fail "a size that is not aligned"
cp "$images/odd.raw" "$work/odd"
# truncate(1) does not wait for the lease, but says so.
until truncate -s 900000 "$images/odd.raw" 2>/dev/null; do sleep 0.1; done
cat "$mnt/odd" >/dev/null 2>&1 && fail "an image that was cut short was read"
refuses "shorter than devices see it" "$lamina" origin "$mnt/odd" --accept
{ cat "$work/odd"; head -c 2000000 /dev/urandom; } >"$images/odd.raw"
"$lamina" origin "$mnt/odd" --accept >/dev/null
cmp "$mnt/odd" "$work/odd" || fail "a longer one shows more than it did"
"$lamina" create "$mnt/large" 10M --origin "$images/new.raw"
[ "$(stat -c %s "$mnt/large")" = $((48 << 20)) ] || fail "a device smaller than its origin"
"$lamina" create "$mnt/larger" 100M --origin "$images/new.raw"
[ "$(stat -c %s "$mnt/larger")" = $((100 << 20)) ] || fail "a device larger than its origin"

step "what cannot be one"
"$lamina" create "$mnt/empty" 1M
refused() { refuses "$1" "$lamina" create "$mnt/no" --origin "$2"; [ ! -e "$mnt/no" ] || fail "left"; }
refused "qemu-img convert -O raw '$images/base.qcow2'" "$images/base.qcow2"
qemu-img convert -O vmdk "$work/disk" "$images/base.vmdk"
refused "is a VMDK image" "$images/base.vmdk"
refused "below no directory" "$work/disk"
refused "no such file" "$images/none"
mkdir "$images/folder"
refused "neither a regular file nor a block device" "$images/folder"
mkfifo "$images/fifo"
refused "neither a regular file nor a block device" "$images/fifo"
: >"$images/nothing"
refused "is empty" "$images/nothing"
refuses "has been written to" "$lamina" origin "$mnt/vm1" --set "$images/new.raw"
answers 3 "has a SIZE" "$lamina" create "$mnt/no"
ln -s "$work/disk" "$images/link"
setfattr -n user.lamina.origin_file -v "$images/link" "$mnt/empty" 2>/dev/null && fail "by a link"
setfattr -n user.lamina.origin_file -v "$images/../disk" "$mnt/empty" 2>/dev/null && fail "by .."
setfattr -n user.lamina.origin_file -v "new.raw" "$mnt/empty" 2>/dev/null && fail "by half a path"
umount_pool

step "in its own mount, on a loop over it, or below one"
sed -i "s|^origins:.*|origins: [$images, $mnt, /dev, $work/fs1]|" "$work/pool.yaml"
start
refused "lies in this pool's own mount" "$mnt/vm2"
loop=$(attach vm2)
refused "a loop over a device of this pool" "$loop"
mount "$loop" "$work/fs1"
cp "$work/odd" "$work/fs1/odd"
refused "mounted from $loop" "$work/fs1/odd"
umount "$work/fs1"
"$lamina" detach "$loop" >/dev/null

step "a block device"
other=$(losetup --find --show "$images/new.raw" --read-only)
"$lamina" create "$mnt/block" --origin "$other"
cmp "$mnt/block" "$images/new.raw" || fail "a block device as origin"
"$lamina" rm "$mnt/block"
"$lamina" sync "$mnt"

step "for root alone"
chmod 777 "$mnt" && chmod 666 "$mnt/empty" && chown nobody "$mnt"
chmod 711 "$work" "$images"
if command -v setpriv >/dev/null && [ -x "$(command -v setfattr)" ]; then
  setpriv --reuid=65534 --regid=65534 --clear-groups \
    setfattr -n user.lamina.origin_file -v "$images/new.raw" "$mnt/empty" 2>/dev/null &&
    fail "somebody else set an origin"
fi
umount_pool
losetup -d "$other"
