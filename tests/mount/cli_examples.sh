#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every file in examples/ is what it says: parsed by who is to read it.
# runs: always
# limit: 180
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/cli_expect.sh"
examples=$top/examples

step "pool files parse: what is refused is only that their disks are not here"
for file in "$examples"/*.yaml; do
  said=$("$lamina" check "$file" 2>&1) && fail "$file is about disks that are here"
  grep -q "No such file" <<<"$said" || fail "$file: $said"
done

step "XML for libvirt"
if command -v virt-xml-validate >/dev/null; then
  virt-xml-validate "$examples/libvirt/pool.xml" storagepool >/dev/null || fail "pool.xml"
  virt-xml-validate "$examples/libvirt/domain.xml" domain >/dev/null || fail "domain.xml"
else
  for file in "$examples"/libvirt/*.xml; do
    python3 -c 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])' "$file" || fail "$file"
  done
fi

step "the units"
if command -v systemd-analyze >/dev/null; then
  sed "s|/usr/local/bin/lamina|$(readlink -f "$lamina")|; /^Documentation=/d" \
    "$examples/lamina@.service" >"$work/lamina@.service"
  sed "s|/usr/local/bin/lamina|$(readlink -f "$lamina")|; /^Documentation=/d" \
    "$examples/lamina-scrub@.service" >"$work/lamina-scrub@.service"
  cp "$examples/lamina-scrub@.timer" "$work"
  said=$(systemd-analyze verify --man=no "$work"/lamina*@* 2>&1 | grep "lamina.*@" || true)
  [ -z "$said" ] || fail "units: $said"
fi

step "fstab, and the helper that mount(8) calls for it"
grep -v '^#' "$examples/fstab" | while read -r source point type options dump pass rest; do
  [ "$type" = lamina ] && [ -n "$options$dump$pass" ] && [ -z "$rest" ] || fail "fstab: $source $point"
  refuses "No such file" "$lamina" mount "$work/none" "$mnt" -o "$options"
done
"$lamina" format "$image" --size 128M >/dev/null
LAMINA=$lamina "$examples/mount.lamina" "$image" "$mnt" -n -o rw,noatime
mountpoint -q "$mnt" || fail "mount.lamina did not mount"
umount_pool
step "done"
