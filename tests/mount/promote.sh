#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Promotion: what is read again and again comes back from a compression blob, where it is switched
# on, and nowhere else; it stays what it was, and is aged again by who asks.
# runs: always
# limit: 180
source "$(dirname "$0")/lib.sh"
needs python3 dd

image=$work/pool.yaml
for name in fast cold; do truncate -s 256M "$work/$name.img"; done
config() {
  cat >"$image" <<YAML
pool: promote
blobs:
  - {name: fast, kind: journal, path: $work/fast.img}
  - {name: cold, kind: compression, path: $work/cold.img}
aging:
  fast: {keep_free: 20%, idle: 4s}
promote: $1
YAML
}
in_fast() { "$lamina" get "$mnt/vm" tiers | tr ' ' '\n' | sed -n 's/^fast=//p'; }
# read_part: 4 MiB, past the kernel's cache.
read_part() { dd if="$mnt/vm" of=/dev/null bs=1M skip=8 count=4 iflag=direct status=none; }

config perhaps
! said=$("$lamina" format "$image" 2>&1) || fail "format took it"
[[ $said == *promote*"true or false"* ]] || fail "said: $said"

step "off, reading moves nothing"
config false
"$lamina" format "$image" >/dev/null
mount_pool
"$lamina" create "$mnt/vm" 32M
python3 - "$mnt/vm" <<'PY'
import os, random, sys
random.seed(9)
with open(sys.argv[1], "r+b", buffering=0) as f:
    for _ in range(32):
        f.write(b"".join(random.randbytes(2048) + bytes(2048) for _ in range(256)))
    os.fsync(f.fileno())
PY
wanted=$(sha256sum <"$mnt/vm")
"$lamina" age "$mnt" >/dev/null
rest=$(in_fast)  # of the segment that is open
[ "${rest:=0}" -le $((1 << 20)) ] || fail "not aged: $("$lamina" get "$mnt/vm" tiers)"
for _ in 1 2 3 4; do read_part; done
end=$((SECONDS + 3))
while [ $SECONDS -lt $end ]; do
  [ "$(status mover.promoted_bytes)" = 0 ] || fail "promoted, though it is off"
done

step "on, what is read often comes up"
umount_pool
config true
mount_pool
end=$((SECONDS + 30))
while [ "$(status mover.promoted_bytes)" -lt $((4 << 20)) ]; do
  [ $SECONDS -lt $end ] || fail "nothing came up: $(cat "$mnt/.lamina/status.json")"
  read_part
done
"$lamina" sync "$mnt"
setfattr -n user.lamina.checkpoint -v 1 "$mnt"
now=$(in_fast)
[ "$now" -ge $((4 << 20)) ] && [ "$now" -le $(((4 << 20) + rest)) ] ||
  fail "something else came up: $("$lamina" get "$mnt/vm" tiers)"
grep -q "^lamina_promoted_bytes_total.* [1-9]" "$mnt/.lamina/lamina.prom" || fail "not in lamina.prom"
[ "$(sha256sum <"$mnt/vm")" = "$wanted" ] || fail "it changed"

step "it is the same after a crash, and ages when it is asked to"
kill_daemon
mount_pool
[ "$(sha256sum <"$mnt/vm")" = "$wanted" ] || fail "the crash changed it"
"$lamina" age "$mnt" >/dev/null
[ "$(sha256sum <"$mnt/vm")" = "$wanted" ] || fail "aging changed it"
umount_pool
"$lamina" check --data "$image" >/dev/null || fail "check finds something"
