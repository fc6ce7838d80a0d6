#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A pool of many extents, over a disk that keeps metadata and one word for each block of payload:
# opening it reads no map, memory stays at the settings plus 64 MiB (the long form's maps are larger
# than the cache of nodes), and every block is right.
# runs: always
# limit: 300
source "$(dirname "$0")/lib.sh"
needs fio python3
program=$lamina
daemon=$(dirname "$(dirname "$lamina")")/tests/bigpool/lamina_words
[ -x "$daemon" ] || fail "$daemon is not built"

extents=200000
[ -z "$long" ] || extents=2000000
mib=$((extents * 4 / 1024))
"$program" format "$image" --size $((mib * 5 / 4 + 512))M >/dev/null
cat >"$work/pool.yaml" <<END
pool: $(basename "$image" .img)
blobs:
  - {name: journal, kind: journal, path: $image, tier: 0}
memory: {nodes: 4M, layers: 16M, tail: 16M, sums: 4M, frames: 4M, requests: 16M}
END
settings_mib=60

start() { "$daemon" mount "$work/pool.yaml" "$mnt" ${LAMINA_OPTIONS:-}; }
stop() { "$program" umount "$mnt"; }
# The most that it ever held, in MiB.
rss() { awk '/^VmHWM:/ { printf "%d\n", $2 / 1024 }' "/proc/$(status pid)/status"; }
check_rss() {
  local now
  now=$(rss)
  step "$1: RSS $now MiB of $((settings_mib + 64))"
  [ "$now" -le $((settings_mib + 64)) ] || fail "$1: RSS $now MiB, settings $settings_mib MiB"
}
# words ARGUMENTS: each block holds the word that is its offset, over and over.
words() {
  fio --name=words --filename="$mnt/disk" --direct=1 --ioengine=io_uring --iodepth=32 --bs=4k \
    --size=${mib}M --verify=pattern --verify_pattern=%o --verify_fatal=1 --verify_state_save=0 \
    --output="$work/fio.log" "$@" || { cat "$work/fio.log"; fail "fio $*"; }
}

start
lamina=$daemon # what daemon_pid() looks for
"$program" create "$mnt/disk" ${mib}M
words --rw=randwrite --do_verify=0 --end_fsync=1
setfattr -n user.lamina.checkpoint -v 1 "$mnt"
[ "$(status extents)" -gt $((extents * 99 / 100)) ] || fail "$(status extents) extents, not $extents"
check_rss "written"
taken=$(($(du -ck "$image" "$image.words" | tail -1 | cut -f1) / 1024))
step "$taken MiB of disk hold $mib MiB"
[ $taken -lt $((mib / 4 + 64)) ] || fail "payload was stored"
stop

start
read_nodes=$(status node_misses)
[ "$read_nodes" = 0 ] || fail "$read_nodes nodes were read when it was opened"
step "opened without reading a map"
words --rw=randread
check_rss "read at random, every block verified"
[ "$(status node_cache_bytes)" -le 4194304 ] || fail "$(status node_cache_bytes) bytes of cached nodes"
[ -z "$long" ] || [ "$(status node_misses)" -gt $((extents / 4)) ] || fail "the maps fitted the cache"

step "a crash with log to roll forward"
words --rw=randwrite --do_verify=0 --end_fsync=1 --io_size=$((mib / 8))M --randseed=7
kill_daemon
start
[ "$(status recovered_entries)" -gt 0 ] || fail "nothing was rolled forward"
words --rw=randread
check_rss "recovered"
stop
step "passed"
