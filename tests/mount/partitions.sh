#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A device with partitions, as a virtual machine has them: what is mounted from one is frozen for a
# snapshot, and what the kernel keeps of one does not outlive a rollback.
# runs: always
# limit: 300
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/cli_expect.sh"
needs sfdisk addpart partx mkfs.ext4 e2fsck dumpe2fs fsfreeze python3

at_end() { ! mountpoint -q "$work/x" || fsfreeze -u "$work/x" 2>/dev/null; }

# partition LOOP: its first partition; where the kernel does not find it by itself it is told.
partition() {
  [ -b "${1}p1" ] || addpart "$1" 1 2048 405504 2>/dev/null || partx -a "$1" 2>/dev/null || return 1
  for _ in $(seq 50); do
    [ ! -b "${1}p1" ] || { echo "${1}p1"; return; }
    sleep 0.1
  done
  return 1
}
# frozen NAME: the ext4 in its partition is as a frozen one: nothing to replay, nothing wrong.
frozen() {
  local loop part
  loop=$(attach "$1" --partitions)
  part=$(partition "$loop")
  ! dumpe2fs -h "$part" 2>/dev/null | grep -q needs_recovery || fail "$1 was not frozen"
  e2fsck -fn "$part" >"$work/fsck" 2>&1 || fail "$1: $(cat "$work/fsck")"
  "$lamina" detach "$loop"
}

pool 2G
"$lamina" create "$mnt/pd" 200M
"$lamina" create "$mnt/bare" 1M
lp=$(attach pd --partitions)
printf 'label: gpt\n,,L\n' | sfdisk -q "$lp"
part=$(partition "$lp") || skip "neither addpart nor partx -a makes a partition of a loop"
mkfs.ext4 -q "$part"
mkdir "$work/x" "$work/again"
mount "$part" "$work/x"
mount --bind "$work/x" "$work/again" # one file system, frozen once

step "what is mounted from a partition is frozen"
echo one >"$work/x/one"
"$lamina" snapshot "$mnt/pd" pd@1 --freeze
echo two >"$work/x/two"
"$lamina" snapshot "$mnt/pd" "$mnt/bare" --suffix @2 --freeze
echo three >"$work/x/three"
"$lamina" snapshot "$mnt" --suffix @3 --freeze
timeout 20 touch "$work/x/thawed" || fail "it is still frozen"
for name in pd@1 pd@2 pd@3; do frozen "$name"; done

step "frozen by somebody else"
fsfreeze -f "$work/x"
refuses "frozen already, by somebody else" "$lamina" snapshot "$mnt/pd" pd@4 --freeze
refuses "frozen already, by somebody else" "$lamina" snapshot "$mnt/pd" --suffix @4 --freeze
fsfreeze -u "$work/x" || fail "it was thawed"
[ ! -e "$mnt/pd@4" ] || fail "a snapshot was made"

step "rollback under what is mounted from a partition"
refuses "${part} is mounted at $work/x" "$lamina" rollback "$mnt/pd" pd@1
"$lamina" rollback "$mnt/pd" pd@1 --force >"$work/said"
grep -q "${part} is mounted at $work/x" "$work/said" || fail "it does not say what is mounted: $(cat "$work/said")"
grep -q "then roll back again" "$work/said" || fail "it does not say what to do: $(cat "$work/said")"
umount "$work/again" "$work/x"
"$lamina" rollback "$mnt/pd" pd@1 --force >"$work/said"
[ ! -s "$work/said" ] || fail "nothing uses it any more: $(cat "$work/said")"
e2fsck -fn "$part" >"$work/fsck" 2>&1 || fail "after the rollback: $(cat "$work/fsck")"
mount "$part" "$work/x"
[ "$(cat "$work/x/one")" = one ] || fail "what was there is not"
[ ! -e "$work/x/two" ] || fail "what was written after the snapshot is there"
umount "$work/x"

step "nothing to freeze"
for what in "$mnt/pd x" "$mnt/pd --suffix @x" "$mnt/pd $mnt/bare --suffix @x" "$mnt --suffix @x"; do
  # shellcheck disable=SC2086  # words
  refuses "nothing is mounted" "$lamina" snapshot $what --freeze
done
[ ! -e "$mnt/pd@x" ] || fail "a snapshot was made"

step "what was buffered of a partition belongs to what was before"
python3 - "$part" "$lamina" "$mnt" "$work/said" <<'P' || fail "rollback under an open partition"
import os, subprocess, sys
part, lamina, mnt, said = sys.argv[1:]
place, old, dirty = 16 << 20, b"A" * 65536, b"B" * 65536
def lies_there():
    with open(mnt + "/pd", "rb") as f:
        f.seek(place + (1 << 20))
        return f.read(len(old))
fd = os.open(part, os.O_RDWR)
os.pwrite(fd, old, place)
os.fsync(fd)
subprocess.run([lamina, "snapshot", mnt + "/pd", "pd@5"], check=True)
os.pwrite(fd, dirty, place)  # for the kernel to write back
with open(said, "w") as out:
    subprocess.run([lamina, "rollback", mnt + "/pd", "pd@5", "--force"], stdout=out, check=True)
if os.pread(fd, len(old), place) != old:
    sys.exit("the partition's buffers are from before the rollback")
os.fsync(fd)
os.close(fd)
if lies_there() != old:
    sys.exit("what was buffered was written over what was rolled back")
P
grep -q "process [0-9]* (python3) has $part open" "$work/said" || fail "who has it open: $(cat "$work/said")"
"$lamina" detach "$lp"
umount_pool
"$lamina" check "$image" >/dev/null || fail "check: $("$lamina" check "$image")"
step "done"
