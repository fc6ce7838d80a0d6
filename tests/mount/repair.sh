#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# lamina repair: all metadata is destroyed but headers, summaries, records and tables, superblocks
# included; every device and snapshot comes back bit for bit, what was discarded stays so.
# runs: always
# limit: 240
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/cli_expect.sh"
needs python3

pool 512M
step "devices, snapshots, a clone, discards, a removal"
truncate -s 256M "$mnt/vm1" "$mnt/gone"
dd if=/dev/urandom of="$mnt/vm1" bs=1M count=40 conv=notrunc status=none
dd if=/dev/urandom of="$mnt/gone" bs=1M count=8 conv=notrunc status=none
"$lamina" snapshot "$mnt/vm1" "$mnt/vm1@mon" >/dev/null
dd if=/dev/urandom of="$mnt/vm1" bs=4k count=2000 seek=1000 conv=notrunc status=none
fallocate -p -o 20M -l 4M "$mnt/vm1"
"$lamina" clone "$mnt/vm1" "$mnt/copy" >/dev/null
dd if=/dev/urandom of="$mnt/copy" bs=4k count=100 seek=3 conv=notrunc status=none
setfattr -n user.note -v "kept" "$mnt/vm1"
chmod 640 "$mnt/copy"
"$lamina" sync "$mnt"
rm "$mnt/gone"
dd if=/dev/urandom of="$mnt/vm1" bs=4k count=50 seek=9000 conv=notrunc,fsync status=none
sums() { (cd "$mnt" && sha256sum vm1 vm1@mon copy && stat -c '%n %s %a' vm1 vm1@mon copy && getfattr -d vm1 copy); }
sums >"$work/sums"
kill_daemon  # so that there is a log to roll forward

destroy() { python3 "$(dirname "$0")/destroy_metadata.py" "$@"; }
grep -aq LAMINAND "$image" || fail "nodes have another magic"
cp --sparse=always "$image" "$work/whole.img"
destroyed=$(destroy "$image")
step "destroyed: $destroyed"
refuses "superblock|holds no lamina pool" "$lamina" mount "$image" "$mnt"

step "a repair of a copy leaves the original alone"
before=$(sha256sum <"$image")
answers 0 "clean, 3 devices" "$lamina" repair "$image" --to "$work/copy.img" --data
[ "$before" = "$(sha256sum <"$image")" ] || fail "the original was changed"
refuses "is there already" "$lamina" repair "$image" --to "$work/copy.img"

step "in place, everything is there again"
answers 0 "rebuilt from .* 3 devices" "$lamina" repair "$image" --data
mount_pool
sums | diff "$work/sums" - || fail "something is different"
[ ! -e "$mnt/gone" ] || fail "a removed device came back"
cmp -n 4M "$mnt/vm1" /dev/zero -i 20M:0 || fail "a discarded range came back"
dd if=/dev/urandom of="$mnt/vm1" bs=1M count=30 seek=100 conv=notrunc,fsync status=none
remount_pool
umount_pool
answers 0 "clean" "$lamina" check "$image" --data

step "nothing is done where nothing is damaged"
before=$(sha256sum <"$image")
answers 0 "nothing is damaged" "$lamina" repair "$image"
[ "$before" = "$(sha256sum <"$image")" ] || fail "a repair of a whole pool changed it"
answers 0 "rebuilt" "$lamina" repair "$image" --rebuild

step "the headers gone of all segments that tables and nodes lie in"
cp --sparse=always "$work/whole.img" "$image"
destroy "$image" homes | grep -qE '^[1-9][0-9]* header' || fail "no header was destroyed"
answers 0 "rebuilt from .* 3 devices" "$lamina" repair "$image" --rebuild --data
mount_pool
sums | diff "$work/sums" - || fail "something is different"
umount_pool

step "a segment's header gone as well; killed in the midst, and begun again"
cp --sparse=always "$work/whole.img" "$image"
destroy "$image" header >/dev/null
for _ in 1 2 3 4; do
  "$lamina" repair "$image" >/dev/null 2>&1 &
  sleep "0.0$((RANDOM % 9))"
  kill -9 $! 2>/dev/null || true
  wait $! 2>/dev/null || true
  flock --wait 10 "$image" true  # the kernel lets go of it a little later
done
"$lamina" repair "$image" | tail -3; "$lamina" repair "$image" --json | json 'it["verdict"], it["devices"]' | grep -qxF "('clean', 3)" ||
  fail "not repaired"
mount_pool
sums | diff "$work/sums" - || fail "something is different"
umount_pool

step "a whole segment is gone: nothing older is taken for what was in it"
cp --sparse=always "$work/whole.img" "$image"
destroy "$image" segment >/dev/null
answers 1 'suspect: device "vm1".*suspect=accept' "$lamina" repair "$image"
answers 1 "B2.*is suspect" "$lamina" check "$image"
mount_pool
[ "$("$lamina" get "$mnt/vm1" suspect)" -gt 0 ] || fail "nothing of vm1 is suspect"
grep -q " vm1$" "$mnt/.lamina/lost" || fail "it is not listed"
! cat "$mnt/vm1" >/dev/null 2>&1 || fail "what is suspect can be read"
"$lamina" snapshot "$mnt/vm1" "$mnt/doubtful" >/dev/null
remount_pool
! cat "$mnt/vm1" >/dev/null 2>&1 || fail "what is suspect can be read after a mount"

step "a person accepts it, for one device"
refuses "suspect" "$lamina" set "$mnt/vm1" suspect=yes
"$lamina" set "$mnt/vm1" suspect=accept
[ "$("$lamina" get "$mnt/vm1" suspect)" = 0 ] || fail "it is suspect still"
cat "$mnt/vm1" >/dev/null || fail "what was accepted cannot be read"
! cat "$mnt/doubtful" >/dev/null 2>&1 || fail "another device was accepted as well"
remount_pool
cat "$mnt/vm1" >/dev/null || fail "it was accepted for this life only"
umount_pool
answers 0 "clean" "$lamina" repair "$image" --accept-suspect

step "a whole segment is gone, but not the maps: what lay there is lost, and nothing is in doubt"
cp --sparse=always "$work/whole.img" "$image"
destroy "$image" segment-alone >/dev/null
answers 1 "B7 .*header of a segment" "$lamina" check "$image"
{ "$lamina" repair "$image" --json || true; } | json 'it["rebuilt"], it["suspect"]' | grep -qxF "(False, [])" ||
  fail "it was rebuilt, or something is suspect"
mount_pool
python3 - "$mnt"/vm1 "$mnt"/vm1@mon "$mnt"/copy <<'P' || fail "not what a segment holds is lost"
import os, sys
lost = set()
for path in sys.argv[1:]:
    fd = os.open(path, os.O_RDONLY)
    for block in range(os.fstat(fd).st_size // 4096):
        try:
            os.pread(fd, 4096, block * 4096)
        except OSError:
            lost.add(block)
print(len(lost), "blocks are lost")
sys.exit(not 0 < len(lost) <= 2048)
P
umount_pool

step "three tiers, a blob of each kind"
for blob in fast mid deep; do truncate -s 128M "$work/$blob.img"; done
cat >"$work/three.yaml" <<END
pool: three
blobs:
  - {name: fast, kind: journal, path: $work/fast.img}
  - {name: mid, kind: transparent, path: $work/mid.img}
  - {name: deep, kind: compression, path: $work/deep.img}
END
"$lamina" format "$work/three.yaml" >/dev/null
"$lamina" mount "$work/three.yaml" "$mnt"
truncate -s 32M "$mnt/a"
for i in $(seq 16); do
  head -c 512K /dev/urandom
  head -c 512K /dev/zero | tr '\0' "$((i % 10))"
done | dd of="$mnt/a" bs=64k iflag=fullblock conv=notrunc status=none
"$lamina" snapshot "$mnt/a" "$mnt/a@1" >/dev/null
"$lamina" age "$mnt" >/dev/null
dd if=/dev/urandom of="$mnt/a" bs=4k count=500 seek=2000 conv=notrunc,fsync status=none
three() { (cd "$mnt" && sha256sum a a@1); }
three >"$work/sums3"
umount_pool
for blob in fast mid deep; do destroy "$work/$blob.img" >/dev/null; done
refuses "lamina repair" "$lamina" mount "$work/three.yaml" "$mnt"
answers 0 "clean, 2 devices" "$lamina" repair "$work/three.yaml" --to "$work/new" --data
answers 0 "clean, 2 devices" "$lamina" repair "$work/three.yaml"
for pool in "$work/new/three.yaml" "$work/three.yaml"; do
  "$lamina" mount "$pool" "$mnt"
  three | diff "$work/sums3" - || fail "something is different in $pool"
  umount_pool
done

step "a disk of which nothing is left: the rest is whole, what lay there is EIO"
"$lamina" mount "$work/three.yaml" "$mnt"
truncate -s 4M "$mnt/new"
dd if=/dev/urandom of="$mnt/new" bs=1M count=4 conv=notrunc,fsync status=none
new=$(sha256sum <"$mnt/new")
umount_pool
truncate -s 0 "$work/deep.img" && truncate -s 128M "$work/deep.img"
refuses "holds no lamina pool" "$lamina" mount "$work/three.yaml" "$mnt"
answers 1 "nothing of the pool is left on its disk" "$lamina" repair "$work/three.yaml"
answers 1 'B2.*"a"' "$lamina" check "$work/three.yaml"
"$lamina" mount "$work/three.yaml" "$mnt"
[ "$new" = "$(sha256sum <"$mnt/new")" ] || fail "what lay elsewhere is not there"
! cat "$mnt/a" >/dev/null 2>&1 || fail "what lay there can be read"
"$lamina" blob remove "$mnt" deep --accept-loss >/dev/null
umount_pool

step "what is no pool, a pool under another name, and one that is mounted"
sed 's/pool: three/pool: four/' "$work/three.yaml" >"$work/four.yaml"
refuses "belongs to the pool .three" "$lamina" repair "$work/four.yaml"
truncate -s 128M "$work/empty.img"
refuses "neither a superblock nor a segment" "$lamina" repair "$work/empty.img"
mount_pool
refuses "in use|mounted" "$lamina" repair "$image"
