#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# lamina scrub: damage that nobody has read is found, listed device by device, on every kind of blob,
# and what is good is said to be; it goes on over a remount, and stops when told.
# limit: 300
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/cli_expect.sh"

work=$(mktemp -d /var/tmp/lamina-test.XXXXXX)
mnt=$work/mnt
mkdir "$mnt"
config=$work/pool.yaml
cleanup() {
  "$lamina" umount "$mnt" 2>/dev/null || fusermount3 -uzq "$mnt" || true
  rm -rf "$work"
}
trap cleanup EXIT
status() { "$lamina" status "$mnt" --json | python3 -c 'import json, sys
value = json.load(sys.stdin)
for key in sys.argv[1].split("."): value = value[key]
print(value)' "$1"; }
# Whose block of the disk, by the name that each block of it bears.
spoil() {
  python3 - "$@" <<'P'
import sys
image, name = open(sys.argv[1], "r+b"), sys.argv[2].encode()
data = image.read()
at = data.find(name)
if at < 0: sys.exit(f"{name} is not there")
image.seek(at + 100)
image.write(bytes([data[at + 100] ^ 1]))
P
}
# Blocks that say which they are, the rest of each noise, so that frames store them as they are.
fill() {
  python3 - "$@" <<'P'
import os, sys
path, tag, blocks = sys.argv[1], sys.argv[2], int(sys.argv[3])
with open(path, "r+b") as file:
    for block in range(blocks):
        file.write(f"<{tag} {block:6}>".encode().ljust(32) + os.urandom(4064))
P
}

step "a pool of one journal"
"$lamina" format "$work/one.img" --size 256M >/dev/null
"$lamina" mount "$work/one.img" "$mnt"
"$lamina" create "$mnt/vm" 64M
fill "$mnt/vm" one 4096
"$lamina" snapshot "$mnt/vm" vm@1 --read-only
answers 0 "all data is good" "$lamina" scrub "$mnt"
[ "$(status scrub.state)" = idle ] || fail "state $(status scrub.state)"
[ "$(status scrub.ended_s)" -gt 0 ] || fail "when it ended is not said"

step "damage that nobody has read"
spoil "$work/one.img" "<one    777>"
answers 1 "8K of data are lost|8.0K of data are lost|8192" "$lamina" scrub "$mnt"
grep -q "vm@1" "$mnt/.lamina/lost" || fail "the snapshot's loss is not listed: $(cat "$mnt/.lamina/lost")"
[ "$(wc -l <"$mnt/.lamina/lost")" = 2 ] || fail "listed: $(cat "$mnt/.lamina/lost")"
grep -q 'lamina_scrub_bad_bytes{.*} 8192' "$mnt/.lamina/lamina.prom" || fail "metrics"
dd if="$mnt/vm" bs=4k skip=777 count=1 of=/dev/null iflag=direct status=none 2>/dev/null && fail "it was read"
dd if="$mnt/vm" bs=4k skip=778 count=1 of=/dev/null iflag=direct status=none || fail "its neighbour"

step "what is written again, or removed, is listed no more"
dd if=/dev/zero of="$mnt/vm" bs=4k seek=777 count=1 conv=notrunc,fsync status=none
rm "$mnt/vm@1"
answers 0 "all data is good" "$lamina" scrub "$mnt"
[ "$(wc -c <"$mnt/.lamina/lost")" = 0 ] || fail "listed: $(cat "$mnt/.lamina/lost")"

step "stopped, and over a remount"
"$lamina" scrub "$mnt" --background
"$lamina" scrub "$mnt" --stop
"$lamina" umount "$mnt"
"$lamina" mount "$work/one.img" "$mnt"
case $(status scrub.state) in stopped | idle) ;; *) fail "it goes on although it was stopped" ;; esac
"$lamina" scrub "$mnt" --json | python3 -c 'import json, sys; d = json.load(sys.stdin); assert d["bad_bytes"] == 0, d'
"$lamina" umount "$mnt"
"$lamina" mount "$work/one.img" "$mnt" -o ro
answers 3 "read-only|Read-only" "$lamina" scrub "$mnt"
"$lamina" umount "$mnt"
refuses "mount" "$lamina" scrub "$work"

step "what has aged, as it is and compressed"
truncate -s 128M "$work/fast.img"
truncate -s 256M "$work/bulk.img" "$work/cold.img"
cat >"$config" <<Y
pool: three
blobs:
  - {name: fast, kind: journal, path: $work/fast.img, tier: 0}
  - {name: bulk, kind: transparent, path: $work/bulk.img, tier: 1}
  - {name: cold, kind: compression, path: $work/cold.img, tier: 2}
Y
"$lamina" format "$config" >/dev/null
"$lamina" mount "$config" "$mnt"
for name in bulk cold; do
  "$lamina" create "$mnt/$name" 16M
  "$lamina" set "$mnt/$name" tier=$name
  fill "$mnt/$name" $name 4096
done
"$lamina" age "$mnt" >/dev/null
answers 0 "all data is good" "$lamina" scrub "$mnt"
spoil "$work/bulk.img" "<bulk    100>"
spoil "$work/cold.img" "<cold    200>"
answers 1 "data are lost" "$lamina" scrub "$mnt"
python3 - "$mnt/.lamina/lost" <<'P'
import sys
lost = [line.rstrip("\n") for line in open(sys.argv[1])]
print(*lost, sep="\n")
assert any("bulk" in line for line in lost), lost
assert any("cold" in line for line in lost), lost
P
for name in bulk cold; do
  good=0
  for block in $(seq 0 50 4095); do
    dd if="$mnt/$name" bs=4k skip=$block count=1 of=/dev/null iflag=direct status=none 2>/dev/null && good=$((good + 1))
  done
  [ $good -ge 80 ] || fail "$name: only $good of 82 are read"
done
step done
