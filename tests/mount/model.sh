#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Random operations of any alignment on files of the mount, against bytes in memory, in the manner
# of fsx; and the same bytes after a remount.
# runs: always
# limit: 180
source "$(dirname "$0")/lib.sh"
needs python3
model="python3 $(dirname "$0")/model_operations.py"

pool 2G
first=${LAMINA_SEED:-1}
rounds=3 count=700
[ -z "$long" ] || first=${LAMINA_SEED:-$RANDOM} rounds=60 count=3000

for ((seed = first; seed < first + rounds; seed++)); do
  step "seed $seed, two at once"
  $model "$mnt/a$seed" --seed "$seed" --count $count &
  job=$!
  $model "$mnt/b$seed" --seed $((seed + 100000)) --count $count || fail "seed $((seed + 100000))"
  wait "$job" || fail "seed $seed"
done

step "found again after a remount"
sums=$(cd "$mnt" && sha256sum ./*)
remount_pool
[ "$sums" = "$(cd "$mnt" && sha256sum ./*)" ] || fail "other bytes after a remount"

step "mapped is what holds data"
"$lamina" sync "$mnt"
for file in "$mnt"/*; do
  full=$(python3 -c 'import sys
data, block = open(sys.argv[1], "rb").read(), 4096
print(sum(any(data[i:i + block]) for i in range(0, len(data), block)) * 8)' "$file")
  [ "$(stat -c %b "$file")" = "$full" ] || fail "$file: st_blocks $(stat -c %b "$file"), not $full"
done
