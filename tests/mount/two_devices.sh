#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Two devices used at once: while an fsync of one waits for a disk that is slow to write, the other
# goes on reading and writing. The disk is made slow by throttling what the daemon may write.
# runs: always
# limit: 300
# beside: nobody
source "$(dirname "$0")/lib.sh"
needs python3

slow=$((8 * 1024 * 1024))  # bytes a second that the disk takes while the test runs
pool 2G
"$lamina" create "$mnt/slow" 256M
"$lamina" create "$mnt/quick" 256M
dd if=/dev/urandom of="$mnt/quick" bs=1M count=64 conv=notrunc,fsync status=none
# The disk below: throttling wants the whole disk, not the partition.
disk=$(findmnt -no MAJ:MIN -T "$image" | tr -d " ")
block=/sys/dev/block/$disk
[ ! -e "$block/partition" ] || disk=$(cat "$(readlink -f "$block")/../dev")
daemon=$(daemon_pid)
[ -n "$daemon" ] || fail "no daemon found"
group=
remove_group() {
  [ -n "$group" ] || return 0
  echo "$daemon" >"$parent/cgroup.procs" 2>/dev/null || true
  rmdir "$group" 2>/dev/null || true
}
at_end() { remove_group; }
if [ -w /sys/fs/cgroup/blkio/blkio.throttle.write_bps_device ] 2>/dev/null ||
  [ -e /sys/fs/cgroup/blkio/cgroup.procs ]; then
  parent=/sys/fs/cgroup/blkio
  mkdir "$parent/lamina-test-$$" 2>/dev/null && group=$parent/lamina-test-$$
  [ -z "$group" ] || echo "$disk $slow" >"$group/blkio.throttle.write_bps_device" 2>/dev/null ||
    remove_group
elif [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  parent=/sys/fs/cgroup
  echo +io >"$parent/cgroup.subtree_control" 2>/dev/null || true
  mkdir "$parent/lamina-test-$$" 2>/dev/null && group=$parent/lamina-test-$$
  [ -z "$group" ] || echo "$disk wbps=$slow" >"$group/io.max" 2>/dev/null || remove_group
fi
[ -n "$group" ] && [ -d "$group" ] || skip "no cgroup that throttles writes to $disk"
echo "$daemon" >"$group/cgroup.procs"

step "48 MiB on one device and an fsync, to a disk of 8 MiB/s; the other one meanwhile"
python3 - "$mnt/slow" "$mnt/quick" <<'PY'
import os, sys, threading, time

slow, quick = (os.open(path, os.O_RDWR | os.O_DIRECT) for path in sys.argv[1:])
import mmap, random
mib = mmap.mmap(-1, 1 << 20)
mib.write(os.urandom(1 << 20))
block = mmap.mmap(-1, 4096)
state = {}

def slow_writer():
    at = time.monotonic()
    for i in range(48):
        os.pwrite(slow, mib, i << 20)
    print(f"writing took {time.monotonic() - at:.2f} s")
    state["begin"] = time.monotonic()
    os.fsync(slow)
    state["end"] = time.monotonic()

thread = threading.Thread(target=slow_writer)
thread.start()
while "begin" not in state:
    time.sleep(0.001)
worst, count = 0, 0
while "end" not in state:
    at = time.monotonic()
    offset = random.randrange(16384) * 4096
    if count % 4:
        os.preadv(quick, [block], offset)
    else:
        os.pwrite(quick, block, offset)
    worst, count = max(worst, time.monotonic() - at), count + 1
    time.sleep(0.002)  # a quiet device: what it writes fits the disk beside the other's
thread.join()
took = state["end"] - state["begin"]
print(f"the fsync took {took:.2f} s; the other device did {count} operations, the longest {worst * 1000:.1f} ms")
if took < 0.5:
    print("SKIP: the disk was not made slow")
    sys.exit(77)
if count < 100 or worst > took / 4:
    sys.exit("FAIL: the other device was held up")
PY
step "passed"
