#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Far more dirty pages than a small memory cgroup holds, on ext4 over an attached device: the writer
# neither hangs nor dies, and what it wrote is there.
# runs: always
# limit: 360
source "$(dirname "$0")/lib.sh"
needs mkfs.ext4 python3

limit=$((64 * 1024 * 1024))
mib=384
[ -z "$long" ] || mib=4096
pool $((mib * 3))M
"$lamina" create "$mnt/disk" $((mib * 2))M
loop=$(attach disk)
mkfs.ext4 -q "$loop"
mkdir "$work/fs"
mount "$loop" "$work/fs"

group=
for parent in /sys/fs/cgroup/memory /sys/fs/cgroup; do
  [ -z "$group" ] || break
  if [ "$parent" = /sys/fs/cgroup ]; then
    [ -e "$parent/cgroup.controllers" ] || continue
    echo +memory >"$parent/cgroup.subtree_control" 2>/dev/null || true
  fi
  mkdir "$parent/lamina-test-$$" 2>/dev/null || continue
  group=$parent/lamina-test-$$
  echo $limit >"$group/memory.limit_in_bytes" 2>/dev/null ||
    echo $limit >"$group/memory.max" 2>/dev/null || { rmdir "$group"; group=; }
done
[ -n "$group" ] || skip "no memory cgroup"
at_end() { rmdir "$group" 2>/dev/null; }

step "$mib MiB through the page cache in a cgroup of 64 MiB"
timeout 240 python3 - "$work/fs" "$mib" "$group/cgroup.procs" <<'PY' || fail "the writer: code $?"
import hashlib, os, random, sys
folder, mib, procs = sys.argv[1], int(sys.argv[2]), sys.argv[3]
open(procs, "w").write(str(os.getpid()))
data = random.Random(7).randbytes(1 << 20)
files = 8
for i in range(files):
    with open(f"{folder}/{i}", "wb") as f:
        for j in range(mib // files):
            f.write((i * 1000 + j).to_bytes(8, "little") + data[8:])
for i in range(files):  # and read back while the last of it is still being written out
    with open(f"{folder}/{i}", "rb") as f:
        for j in range(mib // files):
            if f.read(1 << 20) != (i * 1000 + j).to_bytes(8, "little") + data[8:]:
                sys.exit(f"file {i} differs at {j} MiB")
PY
step "written and read; now found again after unmounting everything"
(cd "$work/fs" && sha1sum ./[0-9]) >"$work/sums"
umount "$work/fs"
fsck.ext4 -fn "$loop" >/dev/null
"$lamina" detach "$loop"
remount_pool
loop=$(attach disk)
mount "$loop" "$work/fs"
(cd "$work/fs" && sha1sum --quiet -c "$work/sums") || fail "files differ after a remount"
step "passed"
