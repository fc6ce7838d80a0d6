#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Whose data a place on the medium is: a block that is found in the pool's file by its content names
# the device, its snapshot and the block.
# runs: always
# limit: 180
source "$(dirname "$0")/lib.sh"
needs python3

pool 512M
"$lamina" create "$mnt/vm" 64M
python3 - "$mnt/vm" <<'PY'
import os, random, sys
random.seed(3)
with open(sys.argv[1], "r+b", buffering=0) as f:
    os.pwrite(f.fileno(), random.randbytes(8 << 20), 0)
    os.pwrite(f.fileno(), b"whose am I?".ljust(4096, b"\1"), 12345 * 4096)
    os.fsync(f.fileno())
PY
"$lamina" snapshot "$mnt/vm" vm@1 --read-only
"$lamina" sync "$mnt"
at=$(python3 -c 'import mmap, sys
with open(sys.argv[1], "rb") as f: print(mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ).find(b"whose am I?"))' "$image")

step "data"
"$lamina" map --reverse "$image" "$at" --json >"$work/place"
python3 - "$work/place" <<'PY'
import json, sys
place = json.load(open(sys.argv[1]))
assert place["what"] == "data" and place["segment"]["class"] == "log", place
assert [u["device"] for u in place["users"]] == ["vm", "vm@1"], place
assert all(u["begin"] == 12345 * 4096 and u["length"] == 4096 for u in place["users"]), place
assert [u["read_only"] for u in place["users"]] == [False, True], place
PY
said=$("$lamina" map --reverse "$image" "$at")
[[ $said == *"device    vm: 4096 bytes at 50565120"* ]] || fail "said: $said"
[[ $said == *"snapshot  vm@1: 4096 bytes at 50565120"* ]] || fail "said: $said"

step "garbage, metadata, and what is free"
"$lamina" rm "$mnt/vm@1"
fallocate -p -o $((12345 * 4096)) -l 4096 "$mnt/vm"
"$lamina" map --reverse "$image" "$at" | grep -q garbage || fail "a dead block is not garbage"
"$lamina" map --reverse "$image" 0 | grep -q superblock || fail "no superblock at 0"
"$lamina" map --reverse "$image" 400M | grep -q free || fail "400M is not free"

step "bad input"
"$lamina" map --reverse "$image" 600M 2>"$work/said" && fail "600M was there"
grep -q "does not reach" "$work/said" || fail "said: $(cat "$work/said")"
"$lamina" map --reverse /etc/passwd 0 2>"$work/said" && fail "/etc/passwd is a blob"
grep -q "holds no blob" "$work/said" || fail "said: $(cat "$work/said")"
"$lamina" map --reverse "$image" 2>/dev/null && fail "without an offset"
"$lamina" map --reverse "$image" -- -1 2>/dev/null && fail "a negative offset"
umount_pool
