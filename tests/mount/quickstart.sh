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

step "--remove, twice"
quickstart --remove
[ ! -e "$demo" ] || fail "$demo is still there"
quickstart --remove
mnt=$work/mnt
step "passed"
