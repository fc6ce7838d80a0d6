#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Snapshots as people take them: of a mounted ext4 under load, each mounted beside its origin and
# checked; rollback; and thousands that leave nothing behind.
# runs: always
# limit: 600
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/cli_expect.sh"
needs mkfs.ext4 e2fsck setfattr getfattr python3

# has NAME KEY: one value of ls --json.
has() { "$lamina" ls "$mnt" --json | json "[d['$2'] for d in it if d['name'] == '$1'][0]"; }

pool 2G

step "a snapshot is what its origin was, whatever either becomes"
"$lamina" create "$mnt/a" 64M
dd if=/dev/urandom of="$work/one" bs=1M count=8 status=none
dd if=/dev/urandom of="$work/two" bs=1M count=8 status=none
dd if="$work/one" of="$mnt/a" bs=1M conv=notrunc,fsync status=none
"$lamina" snapshot "$mnt/a" a@1
setfattr -n user.lamina.snapshot_read_only -v a@2 "$mnt/a"
dd if="$work/two" of="$mnt/a" bs=1M seek=4 conv=notrunc,fsync status=none
"$lamina" snapshot "$mnt/a@1" a@1@1 # of a snapshot
dd if="$work/two" of="$mnt/a@1" bs=1M conv=notrunc,fsync status=none
cmp -n 8388608 "$mnt/a@2" "$work/one" || fail "a@2 changed with its origin"
cmp -n 8388608 "$mnt/a@1@1" "$work/one" || fail "a@1@1 changed with its origin"
cmp -n 8388608 "$mnt/a@1" "$work/two" || fail "a@1 is not what was written to it"
cmp -n 8388608 <(tail -c +4194305 "$mnt/a" | head -c 8388608) "$work/two" || fail "a"
[ "$(has a@1 origin)" = a ] || fail "origin: $(has a@1 origin)"
[ "$(getfattr --absolute-names --only-values -n user.lamina.origin "$mnt/a@1@1")" = a@1 ] || fail "origin of a@1@1"
[ "$(has a@2 size)" = 67108864 ] || fail "size of a@2"

step "what is inherited, and what is not"
chmod 640 "$mnt/a"
setfattr -n user.colour -v blue "$mnt/a"
setfattr -n trusted.secret -v x "$mnt/a"
"$lamina" clone "$mnt/a" copy
[ "$(stat -c %a "$mnt/copy")" = 640 ] || fail "mode"
[ "$(getfattr --absolute-names --only-values -n user.colour "$mnt/copy")" = blue ] || fail "user.*"
getfattr --absolute-names -n trusted.secret "$mnt/copy" 2>/dev/null && fail "trusted.* was inherited"

step "bad input"
refuses "exists" "$lamina" snapshot "$mnt/a" a@1
refuses "exists" "$lamina" snapshot "$mnt/a" a
refuses "255 bytes" "$lamina" snapshot "$mnt/a" "$(printf 'n%.0s' {1..256})"
refuses "reserved" "$lamina" snapshot "$mnt/a" .lamina-x
refuses "no device" "$lamina" snapshot "$mnt/gone" x
answers 2 "suffix" "$lamina" snapshot "$mnt/a"
errno_of() { python3 - "$@" <<'P'
import errno, os, sys
try:
    os.setxattr(sys.argv[1], "user.lamina." + sys.argv[2], sys.argv[3].encode())
    print("OK")
except OSError as e:
    print(errno.errorcode[e.errno])
P
}
[ "$(errno_of "$mnt/a" snapshot a@1)" = EEXIST ] || fail "snapshot over what exists"
[ "$(errno_of "$mnt/a" snapshot "$(printf 'n%.0s' {1..256})")" = ENAMETOOLONG ] || fail "a long name"
[ "$(errno_of "$mnt/a" snapshot a/b)" = EINVAL ] || fail "a name with a slash"
[ "$(errno_of "$mnt/a" rollback gone)" = ENOENT ] || fail "rollback to what is not there"
for key in rollback rollback_force; do
  [ "$(errno_of "$mnt/a" $key "")" = EINVAL ] || fail "$key to no name"
  [ "$(errno_of "$mnt/a" $key .lamina)" = EINVAL ] || fail "$key to a reserved name"
  [ "$(errno_of "$mnt/a" $key "$(printf 'n%.0s' {1..256})")" = ENAMETOOLONG ] || fail "$key to a long name"
done
[ "$(errno_of "$mnt" snapshot_some $'@t\n')" = EINVAL ] || fail "snapshots of no name"
[ "$(errno_of "$mnt" snapshot_some $'@t\n.lamina')" = EINVAL ] || fail "snapshots of a reserved name"
refuses "255 bytes" "$lamina" rollback "$mnt/a" "$(printf 'n%.0s' {1..256})"
refuses "reserved" "$lamina" rollback "$mnt/a" .lamina
refuses "no name" "$lamina" rollback "$mnt/a" ""
"$lamina" create "$mnt/other" 1M
[ "$(errno_of "$mnt/a" rollback other)" = EINVAL ] || fail "rollback across unrelated devices"
[ "$(errno_of "$mnt/a" snapshot .lamina-x)" = EINVAL ] || fail "a reserved name"
[ "$(errno_of "$mnt/a" snapshot "")" = EINVAL ] || fail "no name"
python3 - "$mnt/a@2" <<'P' || fail "a read-only snapshot could be changed"
import errno, os, sys
name = sys.argv[1]
for change in (lambda: os.open(name, os.O_WRONLY), lambda: os.open(name, os.O_RDWR | os.O_TRUNC),
               lambda: os.truncate(name, 0)):
    try:
        change()
    except OSError as e:
        if e.errno != errno.EROFS:
            sys.exit(f"{e}")
        continue
    sys.exit("it did not fail")
P
refuses "read-only" "$lamina" rollback "$mnt/a@2" a@1
refuses "attach it with --read-only" "$lamina" attach "$mnt/a@2"
loop=$(attach a@2 --read-only)
[ "$(blockdev --getro "$loop")" = 1 ] || fail "a loop over a read-only snapshot can be written to"
"$lamina" detach "$loop"
# The owner of an image is not the owner of the mount.
chown nobody "$mnt/copy"
if command -v setpriv >/dev/null; then
  chmod 755 "$work"
  answers 1 "not permitted|denied" setpriv --reuid=nobody --clear-groups \
    setfattr -n user.lamina.snapshot -v mine "$mnt/copy"
fi
# Removed while open, it has no name any more.
exec 7<>"$mnt/other"
rm "$mnt/other"
python3 -c 'import errno, os, sys
try: os.setxattr(7, "user.lamina.snapshot", b"late")
except OSError as e: sys.exit(e.errno != errno.ENOENT)
sys.exit(1)' || fail "a snapshot of what is gone"
exec 7<&-

step "rollback"
exec 7<"$mnt/a"
[ "$(errno_of "$mnt/a" rollback a@2)" = EBUSY ] || fail "rollback of an open device"
refuses "while it is open" "$lamina" rollback "$mnt/a" a@2
exec 7<&-
"$lamina" rollback "$mnt/a" a@2
cmp -n 8388608 "$mnt/a" "$work/one" || fail "a is not as a@2 was"
[ "$(cmp -n 4194304 <(tail -c +8388609 "$mnt/a") /dev/zero && echo same)" = same ] || fail "a has too much"
cmp -n 8388608 "$mnt/a@2" "$work/one" || fail "a@2 changed by the rollback"

step "rollback by force: nobody reads what was"
truncate -s 32M "$mnt/a@1" # the loop learns of the size too
loop=$(attach a)
exec 7<"$mnt/a"
head -c 8388608 <&7 >/dev/null     # into the page cache of the file
head -c 8388608 "$loop" >/dev/null # and of the loop
dd if=/dev/zero of="$loop" bs=4k count=1 conv=notrunc status=none # which has it to write back
# And a page of the file that a process has mapped and changed.
exec 8<>"$mnt/a"
coproc mapper { python3 -c 'import mmap, sys
page = mmap.mmap(8, 8192)
for line in sys.stdin:
    page[4096:4100] = b"late"
    print("changed", flush=True)'; }
mapper_pid=$mapper_PID # bash forgets its variable as soon as the process has ended
change_page() { echo >&"${mapper[1]}"; read -r <&"${mapper[0]}"; }
change_page
answers 0 "has it open" "$lamina" rollback "$mnt/a" a@1 --force
change_page
"$lamina" set "$mnt/a" rollback_force=a@1
kill "$mapper_pid"
wait "$mapper_pid" 2>/dev/null || true
exec 8>&-
cmp -n 8388608 "$mnt/a" "$work/two" || fail "the file's pages are from before the rollback"
cmp -n 8388608 "$loop" "$work/two" || fail "the loop's buffers are from before the rollback"
cmp -n 8388608 /proc/self/fd/7 "$work/two" || fail "who has it open reads what was"
[ "$(blockdev --getsize64 "$loop")" = 33554432 ] || fail "the loop's size: $(blockdev --getsize64 "$loop")"
exec 7<&-
"$lamina" detach "$loop"
"$lamina" rollback "$mnt/a" a@2

step "several at one moment, and all"
"$lamina" snapshot "$mnt/a" "$mnt/copy" --suffix @t --read-only
[ "$(has a@t read_only)$(has copy@t read_only)" = TrueTrue ] || fail "read_only of several"
setfattr -n user.lamina.snapshot_all -v @all "$mnt"
[ "$(has a@t@all origin)" = a@t ] || fail "snapshot_all"
refuses "none was made" "$lamina" snapshot "$mnt" --suffix @all
refuses "named twice" "$lamina" snapshot "$mnt/a" "$mnt/copy" "$mnt/a" --suffix @u
for what in "$mnt/a" "$mnt"; do # all in it
  refuses 'the suffix "/x" .*slash.*none was made$' "$lamina" snapshot "$what" --suffix /x
  refuses 'the suffix "@\?" .*control.*none was made$' "$lamina" snapshot "$what" --suffix $'@\n'
  refuses 'the suffix "n{255}" .*255 bytes.*none was made' "$lamina" snapshot "$what" --suffix "$(printf 'n%.0s' {1..255})"
done
refuses 'the suffix "n{254}" .*255 bytes.*shorter' "$lamina" snapshot "$mnt" --suffix "$(printf 'n%.0s' {1..254})"
refuses 'the suffix "n{252}" .*255 bytes.*shorter' "$lamina" snapshot "$mnt/a" "$mnt/copy" --suffix "$(printf 'n%.0s' {1..252})"
long_name=$(printf 'n%.0s' {1..220})
python3 -c 'import os, sys
for i in range(300): os.setxattr(sys.argv[1] + "/a", "user.lamina.snapshot", b"%s%d" % (sys.argv[2].encode(), i))' "$mnt" "$long_name"
refuses "names of these 300 devices.*64 KiB.*name the mount $mnt" "$lamina" snapshot "$mnt/$long_name"* --suffix @u
"$lamina" snapshot "$mnt" --suffix @many
rm "$mnt/$long_name"*

step "they outlive a crash"
kill_daemon
mount_pool
cmp -n 8388608 "$mnt/a@t@all" "$work/one" || fail "a@t@all after a crash"
rm "$mnt"/*
[ -z "$(ls "$mnt")" ] || fail "something is left: $(ls "$mnt")"

step "ext4 under load: snapshots mounted beside the origin, and fsck"
"$lamina" create "$mnt/vm" 400M
loop=$(attach vm)
mkfs.ext4 -q "$loop"
mkdir "$work/vm" "$work/beside"
mount "$loop" "$work/vm"
cat >"$work/load.py" <<'P'
import os, random, sys
folder, random_ = sys.argv[1], random.Random(7)
while True:
    name = os.path.join(folder, "f%d" % random_.randrange(60))
    what = random_.randrange(10)
    if what < 6:
        with open(name, "wb") as f:
            f.write(random_.randbytes(random_.randrange(1, 400000)))
            if what == 0: os.fsync(f.fileno())
    elif what < 8 and os.path.exists(name):
        os.unlink(name)
    elif os.path.exists(name):
        os.rename(name, name + "r")
        os.truncate(name + "r", random_.randrange(100000))
P
# snapshots_under_load DEVICE FOLDER COUNT PAUSE: DEVICE@1 and so on, every second of them frozen,
# while something works in the folder where it is mounted.
snapshots_under_load() {
  local device=$1 folder=$2 count=$3 pause=$4 load i options
  python3 "$work/load.py" "$folder" &
  load=$!
  for i in $(seq "$count"); do
    sleep "$pause"
    options=()
    [ $((i % 2)) = 1 ] || options=(--freeze)
    "$lamina" snapshot "$mnt/$device" "$device@$i" "${options[@]}"
  done
  kill "$load"
  wait "$load" 2>/dev/null || true
}
# reads_beside NAME LOOP OPTION...: all its files, mounted beside the origin.
reads_beside() {
  local name=$1 loop=$2
  shift 2
  mount "$@" "$loop" "$work/beside"
  find "$work/beside" -type f -exec cat {} + >/dev/null || fail "$name cannot be read"
  umount "$work/beside"
}
# sound NAME COMMAND...: the check of a file system finds nothing.
sound() {
  local name=$1
  shift
  "$@" >"$work/fsck" 2>&1 || fail "$name: $(cat "$work/fsck")"
}
snapshots_under_load vm "$work/vm" 6 0.7
sync -f "$work/vm"
(cd "$work/vm" && find . -type f -exec sha256sum {} + | sort) >"$work/before"
for i in 1 2 3 4 5 6; do
  other=$(attach "vm@$i")
  [ $((i % 2)) = 1 ] || sound "vm@$i, frozen" e2fsck -fn "$other" # nothing to replay
  reads_beside "vm@$i" "$other"
  sound "vm@$i" e2fsck -fn "$other"
  "$lamina" detach "$other"
done
(cd "$work/vm" && find . -type f -exec sha256sum {} + | sort) | cmp - "$work/before" || fail "the origin"

step "XFS under load: snapshots mounted beside the origin, and xfs_repair"
if command -v mkfs.xfs >/dev/null && command -v xfs_repair >/dev/null; then
  "$lamina" create "$mnt/x" 400M
  loop_x=$(attach x)
  mkfs.xfs -q "$loop_x"
  mkdir "$work/x"
  if mount -t xfs "$loop_x" "$work/x"; then
    snapshots_under_load x "$work/x" 4 0.6
    for i in 1 2 3 4; do
      other=$(attach "x@$i")
      reads_beside "x@$i" "$other" -t xfs -o nouuid
      sound "x@$i" xfs_repair -n "$other"
      "$lamina" detach "$other"
    done
    umount "$work/x"
    sound "the origin" xfs_repair -n "$loop_x"
  else
    echo "         this kernel does not mount XFS"
  fi
  "$lamina" detach "$loop_x"
  rm "$mnt"/x*
fi

step "rollback under a mounted file system"
refuses "$loop" "$lamina" rollback "$mnt/vm" vm@2
"$lamina" rollback "$mnt/vm" vm@2 --force | grep -q "unmount and close them" || fail "it does not say what to unmount"
umount "$work/vm"
"$lamina" detach "$loop"
"$lamina" rollback "$mnt/vm" vm@4
loop=$(attach vm)
sound "vm after the rollback" e2fsck -fn "$loop"
"$lamina" detach "$loop"
rm "$mnt"/*

step "1,000 snapshots, and 1,000 of each other, removed in any order, leave nothing"
"$lamina" create "$mnt/a" 64M
dd if=/dev/urandom of="$mnt/a" bs=1M count=16 conv=notrunc,fsync status=none
"$lamina" sync "$mnt"
used=$(status used)
python3 - "$mnt" <<'P'
import concurrent.futures, os, random, sys, time
mnt, random_ = sys.argv[1], random.Random(11)
def snapshot(of, name):
    began = time.monotonic()
    os.setxattr(os.path.join(mnt, of), "user.lamina.snapshot", name.encode())
    return time.monotonic() - began
def scribble(name, blocks):
    with open(os.path.join(mnt, name), "r+b", 0) as f:
        for _ in range(blocks):
            f.seek(random_.randrange(4096) * 4096)
            f.write(random_.randbytes(4096))
times = []
for i in range(1000):
    times.append(snapshot("a", "s%d" % i))
    scribble("a", 2)
last = "a"
for i in range(1000):
    snapshot(last, "n%d" % i)
    last = "n%d" % i
    scribble(last, 1)
times.sort()
print("         a snapshot takes %.1f ms (median), %.1f ms (the slowest of 1,000)" %
      (times[500] * 1e3, times[-1] * 1e3))
began = time.monotonic()
os.setxattr(mnt, "user.lamina.snapshot_all", b"@all")
print("         one of all 2,001 devices at once takes %.1f ms" % ((time.monotonic() - began) * 1e3))
names = ["s%d" % i for i in range(1000)] + ["n%d" % i for i in range(1000)]
names += [name + "@all" for name in names + ["a"]]
random_.shuffle(names)
with concurrent.futures.ThreadPoolExecutor(40) as many:  # at once
    for _ in many.map(lambda name: os.unlink(os.path.join(mnt, name)), names):
        pass
P
[ "$(ls "$mnt")" = a ] || fail "something is left"
# What came back is counted by a walk, which comes by itself.
for _ in $(seq 300); do
  [ "$(status used)" -gt $((used + used / 10)) ] || break
  sleep 0.1
done
[ "$(status used)" -le $((used + used / 10)) ] ||
  fail "used: $used before, $(status used) after everything is gone"
umount_pool
"$lamina" check "$image" >/dev/null || fail "check: $("$lamina" check "$image")"
step "done"
