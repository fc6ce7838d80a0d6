#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Blobs that come and go while fio writes and verifies: one of three partitions is evacuated and
# removed, with a crash of the daemon in the midst; others are added; a journal blob leaves with the
# log in it; and everything that cannot be is refused with one message.
# runs: always
# limit: 240
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/cli_expect.sh"
needs fio losetup sfdisk partx python3

fio_pid=
at_end() {
  [ -z "$fio_pid" ] || kill "$fio_pid" 2>/dev/null
  [ -z "${disk:-}" ] || losetup -d "$disk" 2>/dev/null
}

# Five partitions of one disk.
truncate -s 3200M "$work/disk.img"
disk=$(losetup -f --show --direct-io=on "$work/disk.img")
printf 'label: gpt\n,640M\n,640M\n,640M\n,640M\n,,L\n' | sfdisk -q --no-reread "$disk"
partx -a "$disk" 2>/dev/null || true
for _ in $(seq 50); do [ -b "${disk}p5" ] && break || sleep 0.1; done
[ -b "${disk}p5" ] || skip "partx -a makes no partitions of a loop"

image=$work/pool.yaml
# pool_file NAME...: the lines of these blobs.
pool_file() {
  echo "pool: blobs"
  echo "blobs:"
  local name
  for name in "$@"; do
    case $name in
      fast) echo "  - {name: fast, kind: journal, path: ${disk}p1}" ;;
      one) echo "  - {name: one, kind: transparent, path: ${disk}p2}" ;;
      two) echo "  - {name: two, kind: transparent, path: ${disk}p3}" ;;
      cold) echo "  - {name: cold, kind: compression, path: ${disk}p4, level: 1}" ;;
      fast2) echo "  - {name: fast2, kind: journal, path: ${disk}p5}" ;;
    esac
  done
}
pool_file fast one two >"$image"
"$lamina" format "$image" >/dev/null
mount_pool
of_blob() {
  "$lamina" blob ls "$mnt" --json |
    python3 -c "import json,sys; print([b['$2'] for b in json.load(sys.stdin) if b['name']=='$1'][0])"
}
# What is there, verified; then written over in the background.
mib=256
fio_on() {
  local seed=$1
  shift
  fio --name=verify --filename="$mnt/vm" --direct=1 --ioengine=libaio --iodepth=16 --bs=4k \
    --rw=randwrite --randrepeat=0 --randseed="$seed" --size=${mib}M --verify=crc32c --verify_fatal=1 \
    --verify_state_save=0 --output="$work/fio.$seed.log" "$@"
}

step "what cannot be"
"$lamina" create "$mnt/vm" ${mib}M
fio_on 1 --do_verify=0 --end_fsync=1 || fail "fio"
"$lamina" age "$mnt" >/dev/null
[ "$(of_blob one data_bytes)" -gt $((mib << 18)) ] || fail "nothing has aged to one"
before=$("$lamina" blob ls "$mnt")
refuses "only journal blob" "$lamina" blob evacuate "$mnt" fast
refuses "only journal blob" "$lamina" blob remove "$mnt" fast
refuses 'no blob "three"' "$lamina" blob evacuate "$mnt" three
refuses 'no blob "three"' "$lamina" blob remove "$mnt" three
refuses "is not empty" "$lamina" blob remove "$mnt" one
refuses "is not being evacuated" "$lamina" blob evacuate "$mnt" one --keep
refuses "is a mount" "$lamina" blob add "$mnt" cold
refuses 'does not name a blob "cold"' "$lamina" blob add "$image" cold
refuses 'has a blob "two" already' "$lamina" blob add "$image" two
pool_file fast one cold >"$work/other.yaml"
refuses 'does not name the blob "two"' "$lamina" blob add "$work/other.yaml" cold
pool_file fast one two | sed 's/two/again/' >"$work/other.yaml"
refuses 'the blob "two" is on it' "$lamina" blob add "$work/other.yaml" again
pool_file fast one two cold >"$image"
dd if=/dev/urandom of="${disk}p4" bs=64k count=1 oflag=direct status=none
refuses "holds data of an unknown kind; nothing was changed" "$lamina" blob add "$image" cold
mkfs.ext4 -q -F "${disk}p4"
refuses "holds an ext2, ext3 or ext4 file system; nothing was changed" "$lamina" blob add "$image" cold
mkdir "$work/x"
mount "${disk}p4" "$work/x"
refuses "in use|mounted" "$lamina" blob add "$image" cold --force
umount "$work/x"
e2fsck -fn "${disk}p4" >/dev/null 2>&1 || fail "what was on the disk was changed"
[ "$("$lamina" blob ls "$mnt")" = "$before" ] || fail "something has changed"

step "evacuated under fio, and the daemon killed in the midst"
fio_on 2 --do_verify=1 >/dev/null 2>&1 &
fio_pid=$!
sleep 1
"$lamina" blob evacuate "$mnt" one --no-wait | grep -q "is being evacuated" || fail "it says nothing"
if said=$("$lamina" blob evacuate "$mnt" one --no-wait 2>&1); then
  [ "$(of_blob one state)" = empty ] || fail "a second evacuation at the same time"
else
  grep -q "being evacuated already" <<<"$said" || fail "$said"
fi
refuses "is being evacuated; one at a time" "$lamina" blob evacuate "$mnt" two
sleep 0.3
kill_daemon
wait "$fio_pid" 2>/dev/null || true
pool_file fast one two >"$image"
mount_pool
[ "$(of_blob one state)" != serves ] || fail "the evacuation is forgotten"
fio_on 3 --do_verify=1 >/dev/null &
fio_pid=$!
for _ in $(seq 600); do [ "$(of_blob one state)" = empty ] && break || sleep 0.1; done
[ "$(of_blob one state)" = empty ] || fail "it is not empty: $(cat "$mnt/.lamina/status.json")"
"$lamina" status "$mnt" | grep -q "^leaving   one: empty, 0 bytes of data in 0 segments left" ||
  fail "status does not say it"
wait "$fio_pid" || { cat "$work/fio.3.log"; fail "fio while it was evacuated"; }
fio_pid=
"$lamina" blob remove "$mnt" one | grep -q "take its line out of the pool file" ||
  fail "remove does not say what to do"
[ -z "$(blkid -p -o value -s TYPE "${disk}p2")" ] || fail "the removed disk is not wiped"
fio_on 3 --verify_only=1 >/dev/null || { cat "$work/fio.3.log"; fail "after the removal"; }
umount_pool
refuses "holds no lamina pool.*if it was removed, take its line out" "$lamina" mount "$image" "$mnt"
pool_file fast two >"$image"
mount_pool
fio_on 3 --verify_only=1 >/dev/null || { cat "$work/fio.3.log"; fail "after a remount"; }

step "blobs are added under fio, and aged to"
fio_on 4 --do_verify=1 >/dev/null &
fio_pid=$!
pool_file fast two cold >"$image"
"$lamina" blob add "$image" cold --force | grep -q "cold: compression, tier 2" || fail "add"
pool_file fast two cold fast2 >"$image"
"$lamina" blob add "$image" fast2 --json | grep -q '"kind": "journal"' || fail "add --json"
wait "$fio_pid" || { cat "$work/fio.4.log"; fail "fio while blobs were added"; }
fio_pid=
"$lamina" age "$mnt" >/dev/null
[ "$(of_blob cold data_bytes)" -gt $((mib << 19)) ] || fail "nothing has aged to the new blob"
kill_daemon
pool_file fast two cold >"$work/other.yaml"
refuses 'missing, "fast2".*{name: fast2, kind: journal, tier: 0' \
  "$lamina" mount "$work/other.yaml" "$mnt"
mount_pool
fio_on 4 --verify_only=1 >/dev/null || { cat "$work/fio.4.log"; fail "after the crash"; }

step "a journal blob leaves with the log in it, under fio"
fio_on 5 --do_verify=1 >/dev/null &
fio_pid=$!
"$lamina" blob evacuate "$mnt" fast --json | grep -q '"state": "empty"' || fail "evacuate"
refuses "one at a time" "$lamina" blob evacuate "$mnt" fast2
wait "$fio_pid" || { cat "$work/fio.5.log"; fail "fio while the journal left"; }
fio_pid=
"$lamina" blob remove "$mnt" fast >/dev/null
pool_file fast2 two cold >"$image"
remount_pool
fio_on 5 --verify_only=1 >/dev/null || { cat "$work/fio.5.log"; fail "without the first journal"; }

step "kept, and more than the rest can take"
"$lamina" blob evacuate "$mnt" two --no-wait >/dev/null
"$lamina" blob evacuate "$mnt" two --keep | grep -q "serves again" || fail "keep"
[ "$(of_blob two state)" = serves ] || fail "it does not serve"
"$lamina" create "$mnt/big" 1200M
dd if=/dev/urandom of="$mnt/big" bs=1M count=900 conv=notrunc,fsync status=none
"$lamina" age "$mnt" >/dev/null
moved=$(status mover.evacuated_bytes)
refuses "have room for|would hold" "$lamina" blob evacuate "$mnt" cold
[ "$(status mover.evacuated_bytes)" = "$moved" ] || fail "bytes were moved"
[ "$(of_blob cold state)" = serves ] || fail "it does not serve"
fio_on 5 --verify_only=1 >/dev/null || { cat "$work/fio.5.log"; fail "at the end"; }
umount_pool
"$lamina" check "$image" >/dev/null || fail "check: $("$lamina" check "$image")"
"$lamina" mount "$image" "$mnt" -o ro
refuses "read-only" "$lamina" blob evacuate "$mnt" cold
umount_pool

step "a disk is missing: by force the rest is served, and all of it when the disk is back"
mount_pool
dd if=/dev/urandom of="$work/fresh" bs=1M count=8 status=none
"$lamina" create "$mnt/fresh" 8M
"$lamina" resize "$mnt/big" 100M # what cannot be read is tried block by block
"$lamina" ls "$mnt" --fresh >/dev/null
cp "$work/fresh" "$mnt/fresh"
sum=$(sha256sum <"$mnt/big")
[ "$(of_blob cold data_bytes)" -gt 1048576 ] || fail "there is nothing on it"
umount_pool
partx -d --nr 4 "$disk"
refuses "${disk}p4.*No such file.*-o force" "$lamina" mount "$image" "$mnt"
said=$("$lamina" check "$image") && fail "check finds nothing"
grep -q 'blob "cold".*No such file' <<<"$said" || fail "check: $said"
"$lamina" mount "$image" "$mnt" -o force
[[ "$(of_blob cold health)" == missing* ]] || fail "blob ls does not say it"
cmp "$work/fresh" "$mnt/fresh" || fail "what lies on the others"
! cat "$mnt/big" "$mnt/vm" >/dev/null 2>&1 || fail "what is missing can be read"
remount_pool # without force
cmp "$work/fresh" "$mnt/fresh" || fail "what lies on the others, again"
umount_pool
partx -a --nr 4 "$disk"
mount_pool
[ "$(sha256sum <"$mnt/big")" = "$sum" ] || fail "what has come back"
cmp "$work/fresh" "$mnt/fresh" || fail "all of it"
umount_pool

step "it is gone for good, and that is accepted"
partx -d --nr 4 "$disk"
mount_pool
refuses "is not empty" "$lamina" blob remove "$mnt" cold
"$lamina" blob remove "$mnt" cold --accept-loss | grep -q "ranges that cannot be read" ||
  fail "remove does not say what is lost"
[ -s "$mnt/.lamina/lost" ] || fail "nothing is listed as lost"
pool_file fast2 two >"$image"
remount_pool
cmp "$work/fresh" "$mnt/fresh" || fail "what was on the others"
[ -s "$mnt/.lamina/lost" ] || fail "nothing is listed as lost any more"
"$lamina" rm "$mnt/big" "$mnt/vm"
step "done"
