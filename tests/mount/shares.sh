#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What devices have alone and what they share, as people see it; and that what a removal gives back
# shows by itself, soon. The long form has a million extents and a thousand snapshots.
# runs: always
# limit: 180
# beside: nobody
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/cli_expect.sh"
needs setfattr getfattr python3 fio

# of NAME KEY: one value of ls --json.
of() { "$lamina" ls "$mnt" --json | json "[d['$2'] for d in it if d['name'] == '$1'][0]"; }
attribute() { getfattr --absolute-names --only-values -n "user.lamina.$2" "$mnt/$1"; }
mib=$((1 << 20))

pool 2G
step "one that never shared has all of it alone, without a walk"
"$lamina" create "$mnt/a" 64M
dd if=/dev/urandom of="$mnt/a" bs=1M count=16 conv=notrunc,fsync status=none
"$lamina" sync "$mnt"
[ "$(of a exclusive)" = $((16 * mib)) ] && [ "$(of a shared)" = 0 ] || fail "$(of a exclusive)"
[ "$(status walk.age_s)" = None ] || fail "walked: $(status walk)"

step "shared, exclusive, and how old that is"
"$lamina" snapshot "$mnt/a" s
[ "$(of s exclusive)" = None ] && [ -z "$(attribute s exclusive)" ] || fail "known before a walk"
dd if=/dev/urandom of="$mnt/a" bs=1M count=4 conv=notrunc,fsync status=none
for i in 1 2 3; do "$lamina" ls --fresh "$mnt" >/dev/null & done
"$lamina" ls --fresh "$mnt" | grep -qE '^s +64M +16M +16M +4M +12M ' || fail "$("$lamina" ls "$mnt")"
wait
[ "$(of a exclusive)" = $((4 * mib)) ] && [ "$(of a shared)" = $((12 * mib)) ] || fail "a: $(of a exclusive)"
[ "$(attribute s exclusive)" = $((4 * mib)) ] || fail "s: $(attribute s exclusive)"
[ "$("$lamina" get "$mnt/s" shared)" = $((12 * mib)) ] || fail "get: $("$lamina" get "$mnt/s" shared)"
[ "$(attribute s exclusive_age)" -le 10 ] || fail "age: $(attribute s exclusive_age)"
[ "$(status walk.complete)" = True ] || fail "walk: $(status walk)"

step "removing it gives back what it had alone, and df says so"
data=$(status data_bytes)
rm "$mnt/s"
for ((i = 0; i < 40; i++)); do
  [ "$(status data_bytes)" -gt $((data - 4 * mib)) ] || break
  sleep 0.05
done
[ "$(status data_bytes)" = $((data - 4 * mib)) ] || fail "$(status data_bytes) of $data"
[ "$(of a exclusive)" = $((16 * mib)) ] || fail "a alone: $(of a exclusive)"

step "bad input"
setfattr -n user.lamina.walk -v 2 "$mnt" 2>/dev/null && fail "walk = 2"
getfattr -n user.lamina.walk "$mnt" 2>/dev/null && fail "walk was read"

extents=20000 snapshots=50
[ -z "$long" ] || extents=1000000 snapshots=1000
"$lamina" create "$mnt/many" $((extents * 12 / 1024))M
if [ -n "$long" ]; then umount_pool; rm "$image"; pool 12G; "$lamina" create "$mnt/many" $((extents * 12 / 1024))M; fi
step "one of $snapshots snapshots of $extents extents"
fio --name=many --filename="$mnt/many" --rw=randwrite --bs=4k --iodepth=32 --ioengine=io_uring --direct=1 \
  --size=$((extents * 12 / 1024))M --io_size=$((extents * 4 / 1024))M --output=/dev/null
for ((i = 0; i < snapshots; i++)); do
  "$lamina" snapshot "$mnt/many" "many@$i"
  [ $i != $((snapshots / 2)) ] || dd if=/dev/urandom of="$mnt/many" bs=1M count=8 conv=notrunc status=none
done
"$lamina" ls --fresh "$mnt" >/dev/null
step "walked $(status walk.extents) extents in $(status walk.took_s) s"
"$lamina" snapshot "$mnt/many" last
dd if=/dev/urandom of="$mnt/last" bs=1M count=8 conv=notrunc,fsync status=none
"$lamina" sync "$mnt"
free=$(pool_free) begin=$EPOCHREALTIME
rm "$mnt/last"
until [ "$(pool_free)" -ge $((free + 8 * mib)) ]; do
  sleep 0.01
  awk -v b="$begin" -v n="$EPOCHREALTIME" 'BEGIN { exit n - b > 5 }' || fail "free is still $(pool_free), was $free"
done
took=$(awk -v b="$begin" -v n="$EPOCHREALTIME" 'BEGIN { print n - b }')
step "what it had was free after $took s"
awk -v t="$took" 'BEGIN { exit t > 2 }' || fail "it took $took s"
step "passed"
