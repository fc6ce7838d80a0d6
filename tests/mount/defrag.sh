#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A device that was written at random is brought into order, beside its snapshot and a copy, while it
# is written; what was asked for can be stopped, and what there is not is refused.
# runs: always
# limit: 300
source "$(dirname "$0")/lib.sh"
needs python3

pool 1G
field() { python3 -c "import json,sys; print(json.load(sys.stdin)['$1'])"; }

scatter() {  # FILE, MIB, SEED: every block once, in an order of chance
  python3 - "$@" <<'PY'
import os, random, sys
path, mib, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
random.seed(seed)
order = list(range(mib * 256))
random.shuffle(order)
data = random.randbytes(1 << 20)
with open(path, "r+b", buffering=0) as f:
    for block in order:
        at = random.randrange((1 << 20) - 4096)
        os.pwrite(f.fileno(), data[at:at + 4096], block * 4096)
    os.fsync(f.fileno())
PY
}

step "a device of random writes comes into order"
"$lamina" create "$mnt/vm" 100M
scatter "$mnt/vm" 100 1
"$lamina" snapshot "$mnt/vm" vm@before --read-only
before=$(sha256sum <"$mnt/vm")
"$lamina" defrag "$mnt/vm" --json >"$work/first"
[ "$(field ended <"$work/first")" = done ] || fail "it did not end: $(cat "$work/first")"
[ "$(field extents_before <"$work/first")" -gt 20000 ] || fail "it was in order: $(cat "$work/first")"
[ "$(field extents_after <"$work/first")" -lt 2500 ] || fail "not in order: $(cat "$work/first")"
echo 3 >/proc/sys/vm/drop_caches
[ "$(sha256sum <"$mnt/vm")" = "$before" ] || fail "the device changed"
[ "$(sha256sum <"$mnt/vm@before")" = "$before" ] || fail "the snapshot changed"
[ "$(status defrag.moved_bytes)" -gt $((90 << 20)) ] || fail "status does not say what was moved"

step "all devices, while one is written"
scatter "$mnt/vm" 30 2
"$lamina" create "$mnt/other" 50M
scatter "$mnt/other" 50 3
other=$(sha256sum <"$mnt/other")
scatter "$mnt/vm" 20 4 &
"$lamina" defrag "$mnt" | grep -q "extents before" || fail "defrag says nothing"
wait
vm=$(sha256sum <"$mnt/vm")
[ "$(sha256sum <"$mnt/other")" = "$other" ] || fail "the other device changed"
[ "$(sha256sum <"$mnt/vm@before")" = "$before" ] || fail "the snapshot changed"

step "Ctrl-C ends it; a crash loses nothing"
scatter "$mnt/other" 50 5
other=$(sha256sum <"$mnt/other")
setsid bash -c "trap - INT; exec '$lamina' defrag '$mnt'" >"$work/said" 2>&1 &
command=$!
sleep 0.05
kill -INT "$command" 2>/dev/null || true
wait "$command" && code=0 || code=$?
[ "$code" = 0 ] || grep -q "it was stopped" "$work/said" || fail "said: $(cat "$work/said")"
setfattr -n user.lamina.defrag -v 1 "$mnt/vm"
sleep 0.2
kill_daemon
mount_pool
[ "$(sha256sum <"$mnt/vm")" = "$vm" ] || fail "the crash lost something"
[ "$(sha256sum <"$mnt/other")" = "$other" ] || fail "the crash lost something"
[ "$(sha256sum <"$mnt/vm@before")" = "$before" ] || fail "the snapshot changed"

step "a pool that would fill"
"$lamina" create "$mnt/big" 2G
python3 - "$mnt/big" <<'PY'
import errno, os, sys
data = os.urandom(1 << 20)
with open(sys.argv[1], "r+b", buffering=0) as f:
    try:
        for at in range(2048): os.pwrite(f.fileno(), data, at << 20)
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
PY
"$lamina" defrag "$mnt" >"$work/said" 2>&1 || grep -q "ended early: the pool has no room" "$work/said" ||
  fail "said: $(cat "$work/said")"
[ "$(sha256sum <"$mnt/vm")" = "$vm" ] || fail "the device changed"

step "what there is not"
"$lamina" defrag "$mnt/none" 2>"$work/said" && fail "it was there"
grep -q none "$work/said" || fail "said: $(cat "$work/said")"
setfattr -n user.lamina.defrag -v 7 "$mnt/vm" 2>/dev/null && fail "7 was taken"
umount_pool
"$lamina" check "$image" | grep -q clean || fail "check finds something"
