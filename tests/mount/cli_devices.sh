#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The subcommands as they are meant to be used, and the keys that --json promises.
# runs: always
# limit: 300
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/cli_expect.sh"
needs python3

# gone PID: it has ended; its parent may not have looked yet.
gone() { ! grep -qs '^State:.[^Z]' "/proc/$1/status"; }

step "format and mount"
"$lamina" format "$image" --size 512M --name "vm-store" --json | json 'it["pool"]' | grep -qx vm-store
mount_pool
[ "$(findmnt -no FSTYPE "$mnt")" = fuse.lamina ] || fail "the type of the mount"
grep -qa "mount" "/proc/$(daemon_pid)/cmdline" || fail "the command line of the daemon"
[ "$(readlink "/proc/$(daemon_pid)/cwd")" = / ] || fail "the daemon pins a folder"

step "the daemon holds nothing of who started it"
umount_pool
exec 9>"$work/lock"
flock 9
mount_pool
exec 9>&-
flock --nonblock "$work/lock" true || fail "the daemon holds a lock of whoever mounted"

step "create, ls"
"$lamina" create "$mnt/vm1" 1G
"$lamina" create "$mnt/größe" 1536
dd if=/dev/urandom of="$mnt/vm1" bs=1M count=3 conv=notrunc status=none
"$lamina" sync "$mnt"
"$lamina" ls "$mnt" | grep -qE '^vm1 +1G +3M' || fail "ls: $("$lamina" ls "$mnt")"
"$lamina" ls "$mnt" --json | json 'set(it[0]) == set("name id size mapped exclusive shared reserved '\
'stored ratio extents origin origin_files created read_only attached exclusive_age_s".split())' | grep -qx True || fail "keys of ls"
"$lamina" ls "$mnt" --json | json '[d["size"] for d in it]' | grep -qx '\[1536, 1073741824\]'

step "status, blob ls"
"$lamina" status "$mnt" --json | json 'set("pool uuid health size used free extents metadata_bytes log_bytes '\
'tail_bytes written_user written_medium devices blobs mover walk lost_ranges kernel".split()) - set(it)' |
  grep -qx 'set()' || fail "keys of status"
"$lamina" status "$mnt" --json | json 'set("name kind tier path size used free health".split()) - '\
'set(it["blobs"][0])' | grep -qx 'set()' || fail "keys of a blob"
"$lamina" status "$mnt" | grep -q '^health *ok' || fail "$("$lamina" status "$mnt")"
"$lamina" blob ls "$mnt" | grep -q journal

step "map"
"$lamina" map "$mnt/vm1" --json | json 'sum(r["length"] for r in it if r["state"] == "data")' |
  grep -qx 3145728 || fail "$("$lamina" map "$mnt/vm1")"
"$lamina" map "$mnt/vm1" --json | json 'it[0]["begin"], it[0]["blob"] is not None' | grep -qx '(0, True)'
"$lamina" map "$mnt/vm1" | grep -q hole

step "get, set"
[ "$("$lamina" get "$mnt/vm1" mapped)" = 3145728 ] || fail "get mapped"
"$lamina" get "$mnt/vm1" | grep -qx 'mapped=3145728' || fail "$("$lamina" get "$mnt/vm1")"
"$lamina" set "$mnt/vm1" user.lamina.read_only=1
refuses "read-only" "$lamina" attach "$mnt/vm1"
"$lamina" set "$mnt/vm1" read_only=0

step "attach, resize, detach"
loop=$("$lamina" attach "$mnt/vm1")
[ "$("$lamina" attach "$mnt/vm1")" = "$loop" ] || fail "the second attach made another loop"
[ "$(cat "/sys/block/${loop#/dev/}/loop/dio")" = 1 ] || fail "no direct I/O"
"$lamina" ls "$mnt" --json | json '[d["attached"] for d in it if d["name"] == "vm1"][0]' | grep -q "$loop"
"$lamina" resize "$mnt/vm1" +1G >/dev/null
[ "$(blockdev --getsize64 "$loop")" = 2147483648 ] || fail "the loop was not told"
"$lamina" resize "$mnt/vm1" -1G --force >/dev/null
[ "$(blockdev --getsize64 "$loop")" = 1073741824 ] || fail "the loop was not told of shrinking"
"$lamina" detach "$loop"
loop=$("$lamina" attach "$mnt/vm1" --sector-size 4096 --read-only --json | json 'it["loop"]')
[ "$(blockdev --getss "$loop")" = 4096 ] || fail "sector size"
[ "$(blockdev --getro "$loop")" = 1 ] || fail "read-only"
"$lamina" detach "$mnt/vm1"
loop=$("$lamina" attach "$mnt/vm1" --partitions)
# Whether partitions then appear is the kernel's: some are built without partition tables.
[ "$(cat "/sys/block/${loop#/dev/}/loop/partscan")" = 1 ] || fail "no look for partitions"
"$lamina" detach "$mnt/vm1"

step "two who attach at once get one loop"
"$lamina" attach "$mnt/vm1" >"$work/first" & "$lamina" attach "$mnt/vm1" >"$work/second"
wait $!
cmp "$work/first" "$work/second" || fail "two loops"
"$lamina" detach "$mnt/vm1"

step "rename, rm"
"$lamina" rename "$mnt/vm1" vm2
"$lamina" create "$mnt/vm1" 1M
"$lamina" rename "$mnt/vm2" "$mnt/vm1" --force
[ "$(stat -c %s "$mnt/vm1")" = 1073741824 ] || fail "rename over another"
"$lamina" rm "$mnt/vm1" "$mnt/größe"
[ -z "$(ls "$mnt")" ] || fail "rm left $(ls "$mnt")"

step "umount waits for the end; signals end cleanly"
echo kept >"$mnt/kept"
pid=$(daemon_pid)
umount_pool
gone "$pid" || fail "the daemon is still there"
for signal in TERM INT; do
  mount_pool
  pid=$(daemon_pid)
  echo "kept by $signal" >"$mnt/kept"
  kill -$signal "$pid"
  for _ in $(seq 100); do gone "$pid" && break; sleep 0.1; done
  gone "$pid" || fail "SIG$signal did not end it"
  ! mountpoint -q "$mnt" || fail "SIG$signal left the mount"
  mount_pool
  [ "$(cat "$mnt/kept")" = "kept by $signal" ] || fail "what was written before SIG$signal is gone"
  umount_pool
done

step "read-only"
"$lamina" mount "$image" "$mnt" -o ro
[ "$(cat "$mnt/kept")" = "kept by INT" ] || fail "reading"
refuses "[Rr]ead-only" "$lamina" create "$mnt/new" 1G
umount_pool

step "a dead daemon's mount goes by umount"
mount_pool
pid=$(daemon_pid)
ls -l "$mnt" >/dev/null # the kernel remembers for a second, also of a daemon that is dead
kill -9 "$pid"
until gone "$pid"; do sleep 0.05; done
refuses "daemon" "$lamina" ls "$mnt"
refuses "daemon" "$lamina" mount "$image" "$mnt"
answers 0 "had died" "$lamina" umount "$mnt"
mount_pool
[ "$(cat "$mnt/kept")" = "kept by INT" ] || fail "after the crash"
umount_pool

step "in the foreground"
"$lamina" mount "$image" "$mnt" --foreground 2>"$work/log" &
pid=$!
for _ in $(seq 100); do mountpoint -q "$mnt" && break; sleep 0.05; done
umount_pool
wait $pid || fail "the foreground mount ended with $?"
grep -q "serving vm-store" "$work/log" || fail "$(cat "$work/log")"

step "blob grow"
truncate -s 1G "$image"
answers 0 "512M -> 1G" "$lamina" blob grow "$image"
refuses "nothing has grown" "$lamina" blob grow "$image"
mount_pool
[ "$(cat "$mnt/kept")" = "kept by INT" ] || fail "after growing"
"$lamina" status "$mnt" --json | json 'it["blobs"][0]["size"] > 900 << 20' | grep -qx True || fail "size"

step "blob grow while it is mounted"
truncate -s 2G "$mnt/more"
truncate -s 3G "$image"
answers 0 "1G -> 3G" "$lamina" blob grow "$mnt"
refuses "nothing has grown" "$lamina" blob grow "$mnt"
dd if=/dev/urandom of="$work/data" bs=1M count=200 status=none
dd if="$work/data" of="$mnt/more" bs=1M conv=notrunc,fsync status=none
"$lamina" status "$mnt" --json | json 'it["blobs"][0]["size"] > 2900 << 20' | grep -qx True || fail "size"
pid=$(daemon_pid)
kill -9 "$pid"
until gone "$pid"; do sleep 0.05; done
answers 0 "had died" "$lamina" umount "$mnt"
mount_pool
cmp -n 209715200 "$work/data" "$mnt/more" || fail "data after growing and a crash"
umount_pool
truncate -s 4G "$image"
mount_pool
answers 0 "3G -> 4G" "$lamina" blob grow "$image"
umount_pool
answers 0 "clean" "$lamina" check "$image" --data
step "done"
