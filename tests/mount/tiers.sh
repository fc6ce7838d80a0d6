#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Three blobs on three partitions: an ext4 with a real tree in it, all of it aged to compression;
# snapshots before and after are what they were; a pool whose first tier fills goes on, and a crash
# in the midst of aging loses nothing.
# runs: always
# limit: 300
source "$(dirname "$0")/lib.sh"
needs python3 losetup sfdisk partx mkfs.ext4

image=$work/pool.yaml
at_end() { [ -z "${disk:-}" ] || losetup -d "$disk" 2>/dev/null || true; }
truncate -s 1540M "$work/disk.img"
disk=$(losetup -f --show --direct-io=on "$work/disk.img")
printf 'label: gpt\n,512M\n,512M\n,512M\n' | sfdisk -q --no-reread "$disk"
partx -a "$disk" 2>/dev/null || true
for _ in $(seq 50); do [ -b "${disk}p3" ] && break || sleep 0.1; done
[ -b "${disk}p3" ] || skip "partx -a makes no partitions of a loop"
cat >"$image" <<YAML
pool: tiers
blobs:
  - {name: fast, kind: journal, path: ${disk}p1}
  - {name: bulk, kind: transparent, path: ${disk}p2}
  - {name: cold, kind: compression, path: ${disk}p3, level: 3}
YAML
"$lamina" format "$image" | grep -q "cold: compression" || fail "format does not say the kinds"
mount_pool
of_blob() {
  "$lamina" blob ls "$mnt" --json |
    python3 -c "import json,sys; print([b['$2'] for b in json.load(sys.stdin) if b['name']=='$1'][0])"
}
of_device() {
  "$lamina" ls "$mnt" --json |
    python3 -c "import json,sys; print([d['$2'] for d in json.load(sys.stdin) if d['name']=='$1'][0])"
}

step "a real tree on ext4"
"$lamina" create "$mnt/vm" 300M
loop=$("$lamina" attach "$mnt/vm")
mkfs.ext4 -q "$loop"
mkdir "$work/fs"
mount "$loop" "$work/fs"
mkdir "$work/fs/include"
cp -a /usr/include/c++ /usr/include/linux "$work/fs/include/"
(cd "$work/fs" && find . -type f -print0 | sort -z | xargs -0 sha256sum) >"$work/sums"
umount "$work/fs"
"$lamina" detach "$mnt/vm"
"$lamina" snapshot "$mnt/vm" vm@before --read-only
before=$(sha256sum <"$mnt/vm@before")

step "all of it ages to compression"
"$lamina" age "$mnt" | grep -q "went to lower tiers" || fail "age says nothing"
mapped=$(of_device vm mapped)
[ "$(of_blob cold data_bytes)" -ge $((mapped * 9 / 10)) ] || fail "the data is not in cold"
[ "$(of_blob fast data_bytes)" -le $((mapped / 10)) ] || fail "the data is still in fast"
[ "$(of_device vm stored)" -lt $((mapped * 7 / 10)) ] || fail "a source tree did not get smaller"
"$lamina" map "$mnt/vm" --json | grep '"cold"' >/dev/null || fail "map does not name the blob"
echo 3 >/proc/sys/vm/drop_caches
remount_pool
[ "$(sha256sum <"$mnt/vm@before")" = "$before" ] || fail "the snapshot changed"
cmp "$mnt/vm" "$mnt/vm@before" || fail "the device differs from its snapshot"
loop=$("$lamina" attach "$mnt/vm")
mount "$loop" "$work/fs"
(cd "$work/fs" && sha256sum --quiet -c "$work/sums") || fail "files changed"

step "what has aged is written over, and ages again"
find "$work/fs/include" -name '*.h' | sed -n 1,500p | xargs -I{} sh -c 'echo changed >>{}'
sync -f "$work/fs"
(cd "$work/fs" && find . -type f -print0 | sort -z | xargs -0 sha256sum) >"$work/sums"
umount "$work/fs"
"$lamina" age "$mnt" >/dev/null
mount "$loop" "$work/fs"
(cd "$work/fs" && sha256sum --quiet -c "$work/sums") || fail "files changed"
umount "$work/fs"
"$lamina" detach "$mnt/vm"
[ "$(sha256sum <"$mnt/vm@before")" = "$before" ] || fail "the snapshot changed"
"$lamina" rm "$mnt/vm@before"

step "what is pinned stays, and is brought where it belongs"
"$lamina" create "$mnt/hot" 40M
python3 -c "import os,sys; f=open(sys.argv[1],'r+b'); f.write(os.urandom(40<<20)); f.flush(); os.fsync(f)" "$mnt/hot"
hot=$(sha256sum <"$mnt/hot")
"$lamina" set "$mnt/hot" tier=fast
[ "$("$lamina" get "$mnt/hot" tier)" = fast ] || fail "the pin is not there"
"$lamina" age "$mnt" >/dev/null
in_blob() { "$lamina" get "$mnt/hot" tiers | tr ' ' '\n' | sed -n "s/^$1=//p"; }
[ "$(in_blob fast)" = $((40 << 20)) ] || fail "it aged: $("$lamina" get "$mnt/hot" tiers)"
"$lamina" set "$mnt/hot" tier=bulk
"$lamina" age "$mnt" >/dev/null
[ "$(in_blob bulk)" -gt $((30 << 20)) ] || fail "not brought down: $("$lamina" get "$mnt/hot" tiers)"
remount_pool
"$lamina" set "$mnt/hot" tier=fast
"$lamina" age "$mnt" >/dev/null
[ "$(in_blob fast)" = $((40 << 20)) ] || fail "not brought up: $("$lamina" get "$mnt/hot" tiers)"
[ "$(sha256sum <"$mnt/hot")" = "$hot" ] || fail "the pinned device changed"
! said=$("$lamina" set "$mnt/hot" tier=none 2>&1) || fail "pinned to nothing"
[[ $said == *"no blob of that name; it has fast, bulk, cold"* ]] || fail "said: $said"
getfattr -d -m - "$mnt/hot" 2>/dev/null | grep -q tier && fail "the pin is listed"
"$lamina" rm "$mnt/hot"

step "more than the first tier holds is written, and a crash"
"$lamina" create "$mnt/big" 1G
python3 - "$mnt/big" <<'PY'
import os, random, sys
random.seed(5)
block = [random.randbytes(2048) + bytes(2048) for _ in range(64)]
with open(sys.argv[1], "r+b", buffering=0) as f:
    for at in range(0, 600 << 20, 1 << 20):
        f.write(b"".join(random.choices(block, k=256)))
    os.fsync(f.fileno())
PY
wanted=$(sha256sum <"$mnt/big")
[ "$(of_blob fast data_bytes)" -lt $((460 << 20)) ] || fail "nothing has aged by itself"
setfattr -n user.lamina.age -v 1 "$mnt"
sleep 0.3
daemon=$(daemon_pid)
kill -9 "$daemon"
tail --pid="$daemon" -f /dev/null
umount -l "$mnt"
mount_pool
[ "$(sha256sum <"$mnt/big")" = "$wanted" ] || fail "the crash lost something"
umount_pool
"$lamina" check "$image" | grep -q "clean" || fail "check finds something"

step "wrong kinds and tiers are refused"
refused() {
  local said
  if said=$("$lamina" mount "$1" "$mnt" 2>&1); then fail "$2: it was mounted"; fi
  [[ $said == *"$2"* ]] || fail "no \"$2\" in: $said"
}
sed 's/transparent/compression/' "$image" >"$work/kind.yaml"
refused "$work/kind.yaml" "is of kind transparent"
sed 's/level: 3/level: 3, tier: 1/' "$image" >"$work/mixed.yaml"
refused "$work/mixed.yaml" "blobs of one tier are of one kind"
