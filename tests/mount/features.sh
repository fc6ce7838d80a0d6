#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Each kernel feature that is used is switched off, one by one: `status` shows it, and everything
# works all the same; with multishot it is the transport of kernels that have none.
# runs: always
# limit: 240
source "$(dirname "$0")/lib.sh"
needs python3
model="python3 $(dirname "$0")/model_operations.py"

feature() { status "kernel.features.$1"; }

step "all that this kernel has"
pool 1G
mapfile -t used < <(python3 -c 'import json, sys
for name, state in json.load(open(sys.argv[1]))["kernel"]["features"].items():
    if state == "used": print(name)' "$mnt/.lamina/status.json")
[ ${#used[@]} -gt 0 ] || fail "no feature is in use"
umount_pool

try() {
  export LAMINA_FUSE_WITHOUT=$1
  mount_pool
  unset LAMINA_FUSE_WITHOUT
  for name in ${1//,/ }; do
    [ "$(feature "$name")" = off ] || fail "$name is $(feature "$name"), not off"
  done
  $model "$mnt/file" --seed "$2" --count 150
  # Many at once, larger than one request, and listed.
  python3 - "$mnt" <<'END'
import os, sys
from concurrent.futures import ThreadPoolExecutor
mnt = sys.argv[1]
def one(n):
    path, data = f"{mnt}/many-{n}", os.urandom(3 << 20)
    with open(path, "wb") as f: f.write(data)
    with open(path, "rb") as f: assert f.read() == data
with ThreadPoolExecutor(8) as pool: list(pool.map(one, range(8)))
names = {f"many-{n}" for n in range(8)}
assert names <= set(os.listdir(mnt))
assert {e.name: e.stat().st_size for e in os.scandir(mnt) if e.name in names} == dict.fromkeys(names, 3 << 20)
END
  rm "$mnt"/*
  umount_pool
}

seed=${LAMINA_SEED:-1}
[ -z "$long" ] || seed=${LAMINA_SEED:-$RANDOM}
for name in "${used[@]}"; do
  step "without $name (seed $seed)"
  try "$name" "$seed"
done
step "without any of them"
try "$(IFS=,; echo "${used[*]}")" "$seed"

step "a name that is none"
if LAMINA_FUSE_WITHOUT=flying mount_pool 2>"$work/error"; then fail "mounted"; fi
grep -q flying "$work/error" || fail "the message does not name it: $(cat "$work/error")"
