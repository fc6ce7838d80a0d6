#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# libvirt with the mount as a directory pool, without systemd: vol-create-as, vol-resize, vol-clone,
# vol-upload, vol-download and vol-delete do what they do on any file system.
# runs: always
# limit: 200
source "$(dirname "$0")/lib.sh"
needs virsh libvirtd python3

# A libvirtd of our own with the storage driver alone, which needs no hypervisor, bus or user; its
# state lies on tmpfs in its own mount namespace, so that one that runs here is not disturbed.
drivers=$work/drivers
mkdir -p "$drivers" "$work/run"
module=$(find /usr/lib -path '*connection-driver/libvirt_driver_storage.so' | head -1)
[ -n "$module" ] || skip "no storage driver of libvirt"
ln -s "$module" "$drivers/"
cat >"$work/libvirtd.conf" <<CONF
unix_sock_dir = "$work/run"
auth_unix_rw = "none"
auth_unix_ro = "none"
log_level = 3
CONF
pool 2G
export work drivers
unshare --mount --propagation slave bash -c '
  for folder in /run/libvirt /var/lib/libvirt /etc/libvirt/storage; do
    mkdir -p "$folder" && mount -t tmpfs none "$folder"
  done
  LIBVIRT_DRIVER_DIR=$drivers exec libvirtd --config "$work/libvirtd.conf" \
    --pid-file "$work/run/libvirtd.pid"' >"$work/libvirtd.log" 2>&1 &
daemon=$!
socket=$work/run/libvirt-sock
for ((i = 0; i < 100; i++)); do
  [ ! -S "$socket" ] && kill -0 "$daemon" 2>/dev/null || break
  sleep 0.1
done
v() { virsh --quiet --connect "storage:///system?socket=$socket" "$@"; }
v pool-list >>"$work/libvirtd.log" 2>&1 || {
  cat "$work/libvirtd.log"
  skip "libvirtd does not start here"
}

pool_name=lamina-test-$$
step "the mount is a directory pool"
v pool-create-as "$pool_name" dir --target "$mnt"
at_end() { v pool-destroy "$pool_name" >/dev/null 2>&1; }

step "vol-create-as, vol-resize"
v vol-create-as "$pool_name" a.raw 64M --format raw
[ "$(stat -c %s "$mnt/a.raw")" = $((64 << 20)) ] || fail "vol-create-as made $(stat -c %s "$mnt/a.raw") bytes"
v vol-create-as "$pool_name" full.raw 16M --allocation 16M --format raw
v vol-resize a.raw 96M --pool "$pool_name"
[ "$(stat -c %s "$mnt/a.raw")" = $((96 << 20)) ] || fail "vol-resize: $(stat -c %s "$mnt/a.raw")"

step "vol-upload, vol-clone, vol-download: the same bytes"
dd if=/dev/urandom of="$work/data" bs=1M count=20 status=none
v vol-upload --pool "$pool_name" a.raw "$work/data"
v vol-clone --pool "$pool_name" a.raw b.raw
cmp "$mnt/a.raw" "$mnt/b.raw"
cmp -n $((20 << 20)) "$work/data" "$mnt/b.raw"
v vol-download --pool "$pool_name" b.raw "$work/back" --length $((20 << 20))
cmp "$work/data" "$work/back"

step "vol-list, vol-info, vol-wipe, vol-delete"
v vol-list "$pool_name" | grep a.raw >/dev/null
v vol-info --pool "$pool_name" b.raw | grep Capacity >/dev/null
v vol-wipe --pool "$pool_name" b.raw
cmp -n $((96 << 20)) "$mnt/b.raw" /dev/zero
for name in a.raw b.raw full.raw; do v vol-delete --pool "$pool_name" $name; done
[ -z "$(ls "$mnt")" ] || fail "left behind: $(ls "$mnt")"
v pool-destroy "$pool_name"
kill "$daemon"
wait "$daemon" || true
step "passed"
