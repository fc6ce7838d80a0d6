#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tools/quickstart twice, a daemon killed in between, --remove twice: as its users will.
# runs: always
# limit: 400
source "$(dirname "$0")/lib.sh"
[ "$lamina" = "$top/build/release/src/lamina" ] || skip "quickstart builds its own program"

demo=$work/demo
quickstart() { "$top/tools/quickstart" --dir "$demo" --size 2G --tree /usr/include/linux "$@"; }

step "a first run makes everything"
quickstart >"$work/first.log" || { cat "$work/first.log"; fail "the first run"; }
diff -r --no-dereference /usr/include/linux "$demo/fs/linux"

step "a second run finds everything"
quickstart >"$work/second.log" || { cat "$work/second.log"; fail "the second run"; }
! grep -q '^making\|^copying\|^creating' "$work/second.log" || fail "the second run made things again"

step "after the daemon was killed it comes back with every file"
umount "$demo/fs"
for loop in $(loops_below "$demo"); do losetup -d "$loop"; done
mnt=$demo/mnt
kill_daemon
quickstart >"$work/third.log" || { cat "$work/third.log"; fail "the third run"; }
diff -r --no-dereference /usr/include/linux "$demo/fs/linux"

step "all metadata destroyed, every byte back"
quickstart --break-it >"$work/broken.log" || { cat "$work/broken.log"; fail "--break-it"; }
grep -qE '^destroyed: 4 superblocks, [1-9][0-9]* slots?, [1-9][0-9]* nodes?' "$work/broken.log" ||
  fail "it does not say what it destroyed"
grep -q '^rebuilt from' "$work/broken.log" || fail "nothing was repaired"
grep -qE '^every byte is back: 1 devices, [1-9]' "$work/broken.log" || fail "nothing was compared"
diff -r --no-dereference /usr/include/linux "$demo/fs/linux"
[ "$(ls "$demo" | xargs)" = "fs mnt pool.img" ] || fail "something is left: $(ls "$demo")"

step "interrupted anywhere, the next run puts the pool back"
# Between two lines of its output: what follows the line has just begun.
interrupt_at() {
  : >"$work/cut.log"
  setsid "$top/tools/quickstart" --dir "$demo" --size 2G --tree /usr/include/linux --break-it \
    >"$work/cut.log" 2>&1 &
  local pid=$!
  while ! grep -q "$1" "$work/cut.log"; do
    kill -0 $pid 2>/dev/null || { cat "$work/cut.log"; fail "it ended before '$1'"; }
    sleep 0.01
  done
  kill -TERM -- -$pid  # as Ctrl-C, which what runs in the background of a script does not get
  ! wait $pid || fail "it was not interrupted at '$1'"
}
for line in "^sums of" "^a copy" "^noise over" "^.*lamina repair" "^rebuilt"; do
  interrupt_at "$line"
  quickstart >"$work/back.log" 2>&1 || { cat "$work/back.log"; fail "after '$line'"; }
  diff -r --no-dereference /usr/include/linux "$demo/fs/linux" || fail "after '$line'"
  [ "$(ls "$demo" | xargs)" = "fs mnt pool.img" ] || fail "left after '$line': $(ls "$demo")"
done

step "--remove, twice"
quickstart --remove
[ ! -e "$demo" ] || fail "$demo is still there"
quickstart --remove
mnt=$work/mnt
step "passed"
