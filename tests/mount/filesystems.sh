#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ext4, XFS and btrfs on attached devices: a source tree unpacked, compared, found again after the
# pool was unmounted, checked by each one's own fsck, removed, and the space back after fstrim.
# runs: always
# limit: 300
source "$(dirname "$0")/lib.sh"
needs mkfs.ext4 mkfs.xfs mkfs.btrfs fstrim tar

# A real tree: many small files, links, deep folders.
tree=/usr/include
tar -C "$tree" -cf "$work/tree.tar" .
mkdir "$work/tree"
tar -C "$work/tree" -xf "$work/tree.tar"
tree_bytes=$(($(du -s --apparent-size -B1 "$work/tree" | cut -f1)))

declare -A mkfs=([ext4]="mkfs.ext4 -q" [xfs]="mkfs.xfs -q" [btrfs]="mkfs.btrfs -q")
declare -A fsck=([ext4]="fsck.ext4 -fn" [xfs]="xfs_repair -n" [btrfs]="btrfs check --readonly")

compare() { diff -r --no-dereference "$work/tree" "$1/tree" || fail "$1 differs"; }
mapped() { stat -c '%b' "$mnt/$1" | awk '{ print $1 * 512 }'; }

one() {
  local kind=$1 loop at=$work/$1 full empty
  grep -qw "$kind" /proc/filesystems || modprobe "$kind" 2>/dev/null || {
    echo "SKIP: no $kind in this kernel"
    return
  }
  step "$kind: made, mounted, a tree unpacked"
  "$lamina" create "$mnt/$kind" 2G
  loop=$(attach "$kind")
  ${mkfs[$kind]} "$loop"
  mkdir "$at"
  mount "$loop" "$at"
  mkdir "$at/tree"
  tar -C "$at/tree" -xf "$work/tree.tar"
  compare "$at"
  umount "$at"
  ${fsck[$kind]} "$loop" >"$work/fsck.log" 2>&1 || { cat "$work/fsck.log"; fail "fsck of $kind"; }
  "$lamina" detach "$mnt/$kind"

  step "$kind: after the pool was unmounted and mounted"
  remount_pool
  loop=$(attach "$kind")
  mount "$loop" "$at"
  compare "$at"
  full=$(mapped "$kind")

  step "$kind: removed and trimmed"
  rm -r "$at/tree"
  sync -f "$at"
  fstrim "$at"
  umount "$at"
  "$lamina" sync "$mnt"
  empty=$(mapped "$kind")
  # Logs and the like may stay and grow; the tree's bytes come back.
  [ $((full - empty)) -gt $((tree_bytes / 10 * 7)) ] ||
    fail "$kind: a tree of $tree_bytes bytes gone, mapped went from $full to $empty"
  ${fsck[$kind]} "$loop" >"$work/fsck.log" 2>&1 || { cat "$work/fsck.log"; fail "fsck of $kind"; }
  "$lamina" detach "$loop"
  "$lamina" rm "$mnt/$kind"
}

pool 4G
free_before=$(pool_free)
for kind in ext4 xfs btrfs; do one "$kind"; done
"$lamina" sync "$mnt"
[ "$(pool_free)" -ge $((free_before - 128 * 1024 * 1024)) ] ||
  fail "$(pool_free) bytes free at the end, $free_before at first"
step "passed"
