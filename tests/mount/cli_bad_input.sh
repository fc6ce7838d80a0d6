#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What people type wrong, and disks that are not what they should be: one clear message each, the
# right exit code, and nothing lost.
# runs: always
# limit: 240
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/cli_expect.sh"

config=$work/pool.yaml
write_config() { cat >"$config"; }
# Of both ends, where all marks are, and the time of the last write.
sum() { { head -c 2M "$1"; tail -c 2M "$1"; stat -c %y "$1"; } | sha256sum; }

step "wrong usage is 2"
wrong_usage "subcommand is required" "$lamina"
wrong_usage "help" "$lamina" frobnicate
wrong_usage "POOL" "$lamina" format
wrong_usage "expected a size" "$lamina" create "$mnt/a" 10Q
wrong_usage "too large" "$lamina" create "$mnt/a" 99999999999999P
wrong_usage "expected a size" "$lamina" format "$image" --size -1G
wrong_usage "unknown" "$lamina" mount "$image" "$mnt" -o sideways
wrong_usage "frob" "$lamina" mount "$image" "$mnt" -o without=frob
wrong_usage "KEY=VALUE" "$lamina" set "$mnt" checkpoint
wrong_usage "multiple of 4096" "$lamina" inspect "$image@77"
wrong_usage "sector-size" "$lamina" attach "$mnt/a" --sector-size 513

step "every subcommand has help with an example"
for command in format mount umount sync create resize rename rm ls status map get set attach detach \
  check inspect "blob ls" "blob grow"; do
  # shellcheck disable=SC2086  # two words
  answers 0 "lamina ${command%% *}" "$lamina" $command --help
  # shellcheck disable=SC2086
  answers 0 "Example:" "$lamina" $command --help
done
answers 0 "^[0-9]+\.[0-9]+" "$lamina" --version

step "pool files that make no sense: file, line and key"
write_config <<<'pool: p
blobs:
  - {name: a, kind: journal, path: disk.img}
flush_afer: 1s'
refuses "pool.yaml:4:1: flush_afer: unknown key" "$lamina" format "$config"
write_config <<<'pool: p
blobs:
  - {name: a, kind: journal, path: disk.img}
  - {name: a, kind: journal, path: disk2.img}'
refuses "pool.yaml:4:.*blobs\[1\].name" "$lamina" format "$config"
write_config <<<'pool: p
blobs:
  - {name: a, kind: journal, path: disk.img, size: 128M}
  - {name: b, kind: journal, path: ./disk.img, offset: 64M, size: 64M}'
truncate -s 256M "$work/disk.img"
refuses "pool.yaml:4:.*overlaps" "$lamina" format "$config"
write_config <<<'pool: p
blobs:
  - {name: a, kind: transparent, path: disk.img, tier: 1}'
refuses "pool.yaml:2:.*journal" "$lamina" format "$config"
write_config <<<'pool: p
blobs:
  - {name: a, kind: journal, path: disk.img}
  - {name: b, kind: compression, path: disk2.img, tier: 0}'
refuses "pool.yaml:4:.*blobs of one tier are of one kind" "$lamina" format "$config"
write_config <<<'pool: p
blobs:
  - {name: a, kind: journal, path: disk.img}
aging:
  b: {idle: 1h}'
refuses "pool.yaml:5:.*no blob has that name" "$lamina" format "$config"
[ "$(stat -c %b "$work/disk.img")" = 0 ] || fail "something was written"

step "targets that are missing, too small or hold something"
refuses "No such file" "$lamina" format "$work/none.img"
refuses "64M" "$lamina" format "$work/small.img" --size 63M
[ ! -e "$work/small.img" ] || fail "a refused format left a file"
truncate -s 32M "$work/small.img"
refuses "at least 64 MiB" "$lamina" format "$work/small.img"
refuses "is a directory" "$lamina" format "$mnt"
truncate -s 300M "$work/other.img"
for make in "mkfs.ext4 -q -F" "mkfs.xfs -q -f" "mkfs.btrfs -q -f" "mkswap -q" "sfdisk -q"; do
  command -v "${make%% *}" >/dev/null || continue
  # shellcheck disable=SC2086
  $make "$work/other.img" >/dev/null 2>&1 <<<"label: gpt
,100M"
  before=$(sum "$work/other.img")
  refuses "holds.*nothing was changed" "$lamina" format "$work/other.img"
  [ "$before" = "$(sum "$work/other.img")" ] || fail "format changed what it refused"
  rm "$work/other.img"
  truncate -s 300M "$work/other.img"
done
echo "my holiday pictures" | dd of="$work/other.img" conv=notrunc status=none
refuses "holds data of an unknown kind" "$lamina" format "$work/other.img"
answers 0 "made pool" "$lamina" format "$work/other.img" --force
refuses "holds a lamina pool" "$lamina" format "$work/other.img"
refuses "exists and has" "$lamina" format "$work/other.img" --size 1G

step "mount points and pools that are none"
"$lamina" format "$image" --size 256M >/dev/null
refuses "no such directory" "$lamina" mount "$image" "$work/nowhere"
refuses "not a directory" "$lamina" mount "$image" "$image"
refuses "No such file" "$lamina" mount "$work/none.img" "$mnt"
refuses "holds no lamina pool" "$lamina" mount "$work/disk.img" "$mnt"
echo "hello" >"$work/hello"
refuses "neither a pool file" "$lamina" mount "$work/hello" "$mnt"

step "a pool in use"
mount_pool
refuses "is mounted at $mnt" "$lamina" mount "$image" "$work"
answers 0 "clean" "$lamina" check "$image"
refuses "in use" "$lamina" repair "$image"
refuses "in use" "$lamina" format "$image" --force
refuses "is mounted there" "$lamina" mount "$work/other.img" "$mnt"
refuses "nothing has grown" "$lamina" blob grow "$mnt"
refuses "nothing has grown" "$lamina" blob grow "$image"
refuses "has no blob" "$lamina" blob grow "$mnt" --blob slow

step "names and sizes"
refuses "\.lamina" "$lamina" create "$mnt/.lamina-x" 1G
refuses "255" "$lamina" create "$mnt/$(printf 'x%.0s' {1..256})" 1G
refuses "control" "$lamina" create "$mnt/$(printf 'a\nb')" 1G
refuses "1P" "$lamina" create "$mnt/big" 2P
[ ! -e "$mnt/big" ] || fail "a refused create left a device"
answers 0 "" "$lamina" create "$mnt/a" 1G
refuses "exists" "$lamina" create "$mnt/a" 2G
refuses "no device \"b\"" "$lamina" rm "$mnt/b"
refuses "no device \"b\"" "$lamina" resize "$mnt/b" 1G
refuses "less than" "$lamina" resize "$mnt/a" -2G
refuses "at most 1P" "$lamina" resize "$mnt/a" +2P
refuses "is a lamina mount" "$lamina" resize "$mnt" 1G
refuses "is a device" "$lamina" ls "$mnt/a"
answers 0 "" "$lamina" create "$mnt/b" 1G
refuses "exists; --force" "$lamina" rename "$mnt/a" b
refuses "no such attribute" "$lamina" set "$mnt/a" no_such_key=1
refuses "no such value" "$lamina" set "$mnt/a" read_only=2
refuses "can only be set" "$lamina" get "$mnt" sync
refuses "user.lamina.no_such_key" "$lamina" get "$mnt/a" no_such_key

step "paths that are in no lamina mount"
for command in umount sync ls status; do
  refuses "not in a lamina mount" "$lamina" $command "$work"
done
for command in map attach detach "rm"; do
  refuses "not a lamina mount" "$lamina" $command "$work/hello"
done
refuses "not a lamina mount" "$lamina" create "$work/x" 1G

step "a busy mount says who uses it"
loop=$("$lamina" attach "$mnt/a")
refuses "$loop is attached" "$lamina" umount "$mnt"
refuses "$loop" "$lamina" rm "$mnt/a"
refuses "$loop" "$lamina" resize "$mnt/a" 512M
mkfs.ext4 -q "$loop"
mkdir "$work/fs"
mount "$loop" "$work/fs"
refuses "$work/fs" "$lamina" umount "$mnt"
refuses "$work/fs" "$lamina" detach "$loop"
umount "$work/fs"
"$lamina" detach "$mnt/a"
refuses "not attached" "$lamina" detach "$mnt/a"
refuses "no block device" "$lamina" detach /dev/loop-none
(cd "$mnt" && exec sleep 100) &
sleep 0.2
refuses "\(sleep\)" "$lamina" umount "$mnt"
kill $!
wait $! 2>/dev/null || true
umount_pool

step "a member that is missing, swapped, of another pool, cut short"
write_config <<<'pool: two
blobs:
  - {name: a, kind: journal, path: a.img}
  - {name: b, kind: journal, path: b.img}'
truncate -s 128M "$work/a.img" "$work/b.img"
"$lamina" format "$config" >/dev/null
"$lamina" mount "$config" "$mnt"
echo data >"$mnt/d"
umount_pool
mv "$work/b.img" "$work/c.img"
refuses "b.img" "$lamina" mount "$config" "$mnt"
mv "$work/a.img" "$work/b.img"
mv "$work/c.img" "$work/a.img"
refuses "expects at" "$lamina" mount "$config" "$mnt"
mv "$work/a.img" "$work/c.img"
mv "$work/b.img" "$work/a.img"
mv "$work/c.img" "$work/b.img"
refuses "b" "$lamina" mount "$work/a.img" "$mnt"   # alone, without its other member
cp "$work/b.img" "$work/kept.img"
truncate -s 100M "$work/b.img"
refuses "cut short" "$lamina" mount "$config" "$mnt"
mv "$work/kept.img" "$work/b.img"
sed -i 's/pool: two/pool: three/' "$config"
refuses "belongs to the pool \"two\"" "$lamina" mount "$config" "$mnt"
sed -i 's/pool: three/pool: two/' "$config"

step "a damaged superblock copy: the next one serves, and it is said"
dd if=/dev/zero of="$work/a.img" bs=4096 count=1 conv=notrunc status=none
answers 0 "1 of 4 superblock copies" "$lamina" mount "$config" "$mnt"
[ "$(cat "$mnt/d")" = data ] || fail "the data is not there"
umount_pool
step "done"
