# SPDX-License-Identifier: Apache-2.0
# The harness of the tests that use the real file system with real tools.
# A test sources this, calls `pool SIZE` (a fresh pool, mounted at $mnt) and fails by `fail` or by
# any command that fails. Everything it leaves, mounts, loops, the daemon and files, is taken away.
# Settings from outside: LAMINA (the program), LAMINA_TEST_DIR (where pools go; needs some GB and no
#   tmpfs), LAMINA_LONG=1 (the long form), LAMINA_OPTIONS (given to `lamina mount`, as `-o x`).
# Exit codes: 0 passed, 77 skipped, anything else failed.

set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
lamina=${LAMINA:-$top/build/release/src/lamina}
long=${LAMINA_LONG:-}
export PATH=$PATH:/usr/sbin:/sbin

skip() { echo "SKIP: $*"; exit 77; }
fail() { echo "FAIL: $*" >&2; exit 1; }
began=$EPOCHREALTIME
# step WHAT: says it, with the seconds since the start.
step() { awk -v b="$began" -v n="$EPOCHREALTIME" -v t="$*" 'BEGIN { printf "%6.1f  %s\n", n - b, t }'; }

# needs COMMAND...: skips where one is not installed.
needs() {
  local name
  for name in "$@"; do command -v "$name" >/dev/null || skip "$name is not installed"; done
}

[ "$(id -u)" = 0 ] || skip "needs root"
[ -x "$lamina" ] || fail "$lamina is not built"
[ -e /dev/fuse ] || modprobe fuse 2>/dev/null || [ -e /dev/fuse ] || skip "no /dev/fuse"

work=$(mktemp -d "${LAMINA_TEST_DIR:-/var/tmp}/lamina-test.XXXXXX")
mnt=$work/mnt
image=$work/pool.img
mkdir "$mnt"

# --- the pool

# pool SIZE: makes it and mounts it.
pool() {
  "$lamina" format "$image" --size "$1" >/dev/null
  mount_pool
}

mount_pool() {
  "$lamina" mount "$image" "$mnt" ${LAMINA_OPTIONS:-} || {
    echo "could not mount $image" >&2
    return 1
  }
}

umount_pool() { "$lamina" umount "$mnt"; }
remount_pool() { umount_pool; mount_pool; }

# The process that serves $mnt; nothing when none does.
daemon_pid() {
  local file
  for file in /proc/[0-9]*/cmdline; do
    if tr '\0' '\n' 2>/dev/null <"$file" | grep -qxF -- "$mnt" &&
      [ "$(readlink "${file%cmdline}exe" 2>/dev/null)" = "$(readlink -f "$lamina")" ]; then
      basename "${file%/cmdline}"
      return
    fi
  done
}

# kill -9, and the dead mount point out of the way.
kill_daemon() {
  local pid
  pid=$(daemon_pid)
  [ -n "$pid" ] || fail "no daemon serves $mnt"
  kill -9 "$pid"
  while [ -d "/proc/$pid" ]; do sleep 0.01; done
  umount -l "$mnt"
}

# status KEY: one value of .lamina/status.json.
status() {
  python3 -c 'import json, sys
value = json.load(open(sys.argv[1]))
for key in sys.argv[2].split("."): value = value[key]
print(value)' "$mnt/.lamina/status.json" "$1"
}

# Bytes that users can still write.
pool_free() { stat -f -c '%a %S' "$mnt" | awk '{ printf "%d\n", $1 * $2 }'; }

# attach NAME [options]: prints the loop.
attach() {
  local name=$1
  shift
  "$lamina" attach "$mnt/$name" "$@" | grep -o '/dev/loop[0-9]*' | head -1
}

# --- taking it all away. A test that has more to take away defines `at_end`.

mounts_below() { awk -v d="$1/" 'index($5, d) == 1 { print $5 }' /proc/self/mountinfo | tac; }

loops_below() {
  losetup --list --noheadings --output NAME,BACK-FILE 2>/dev/null |
    awk -v d="$1/" 'index($2, d) == 1 { print $1 }'
}

clean_up() {
  local code=$? place loop pid
  trap - EXIT INT TERM
  set +e
  cd /
  ! declare -F at_end >/dev/null || at_end
  pid=$(daemon_pid)
  # shellcheck disable=SC2046  # the jobs of this test, by their ids
  [ -z "$(jobs -p)" ] || { kill $(jobs -p) 2>/dev/null; wait; }
  for place in $(mounts_below "$work"); do
    [ "$place" = "$mnt" ] || timeout 20 umount "$place" 2>/dev/null || umount -l "$place"
  done
  for loop in $(loops_below "$work"); do losetup -d "$loop"; done
  if mountpoint -q "$mnt" || [ -n "$pid" ]; then
    timeout 30 "$lamina" umount "$mnt" >/dev/null 2>&1 || {
      [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null
      umount -l "$mnt" 2>/dev/null
    }
  fi
  if [ $code != 0 ] && [ $code != 77 ] && [ -n "${LAMINA_KEEP:-}" ]; then
    echo "kept: $work" >&2
  else
    rm -rf --one-file-system "$work"
  fi
  exit $code
}
trap clean_up EXIT
trap 'exit 130' INT TERM
