#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A pool that fills up says so: in the log, in `lamina status` and to the program that its file
# names, once for each step; and again only after it was less full in between.
# runs: always
# limit: 180
source "$(dirname "$0")/lib.sh"

runs=$work/runs
cat >"$work/page-me" <<'EOF'
#!/bin/sh
exec >>"$(dirname "$0")/runs"
# What a daemon that serves disks has, and a program beside it must not (-1: we may not ask).
echo "$LAMINA_POOL $LAMINA_MOUNT $LAMINA_USED_PERCENT $LAMINA_FREE_BYTES" \
  "oom=$(cat /proc/self/oom_score_adj)" \
  "held=$(ls -l /proc/$$/fd | grep -c -e fuse -e uring -e socket -e event -e disk -e '/log$')" \
  "blocked=$(sed -n 's/^SigBlk:[[:space:]]*//p' /proc/$$/status)" \
  "ignored=$(sed -n 's/^SigIgn:[[:space:]]*//p' /proc/$$/status)" \
  "flusher=$(python3 -c 'import ctypes; print(ctypes.CDLL(None).prctl(58, 0, 0, 0, 0))')"
[ "$LAMINA_USED_PERCENT" != 90 ] || exit 3
EOF
chmod +x "$work/page-me"
: >"$runs"
truncate -s 256M "$work/disk"
cat >"$work/p.yaml" <<EOF
pool: small
blobs:
  - {name: only, kind: journal, path: $work/disk}
on_low_space: $work/page-me
log: $work/log
EOF
image=$work/p.yaml
"$lamina" format "$image" >/dev/null

step "a pool file that others can write, or lying where they can, is refused with the reason"
chmod g+w "$image"
! "$lamina" mount "$image" "$mnt" 2>"$work/said" || fail "it was mounted"
grep -q "others than its user can write $image" "$work/said" || fail "$(cat "$work/said")"
chmod g-w "$image"
chmod o+w "$work"
! "$lamina" mount "$image" "$mnt" 2>"$work/said" || fail "it was mounted"
grep -q "others than its user can write $work" "$work/said" || fail "$(cat "$work/said")"
chmod o-w "$work"
mount_pool

size=$(status size)
# fill PERCENT: of the space, in one device, on the medium.
fill() {
  local blocks=$((size / 100 * $1 / 4096))
  "$lamina" create "$mnt/filler" 1G 2>/dev/null || true
  dd if=/dev/urandom of="$mnt/filler" bs=64K count=$((blocks / 16)) conv=notrunc status=none
  "$lamina" sync "$mnt"
}
# ran STEP: since this was last asked, it was run for this step of fullness, and for none twice.
seen=0
ran() {
  local steps
  for _ in $(seq 50); do
    steps=$(tail -n +$((seen + 1)) "$runs" | cut -d" " -f3)
    [ "$(tail -1 <<<"$steps")" != "$1" ] || break
    sleep 0.1
  done
  [ "$(tail -1 <<<"$steps")" = "$1" ] && sort -nuC <<<"$steps" || fail "run for '$steps', not $1"
  seen=$(wc -l <"$runs")
}

step "up to 83 %, twice over"
fill 50
[ ! -s "$runs" ] && [ "$(status space_warning)" = None ] || fail "a warning at half"
fill 83
ran 80
fill 83
sleep 0.3
[ "$(wc -l <"$runs")" = 1 ] || fail "run again, though it stayed as full: $(cat "$runs")"
grep -q "^small $mnt 80 [1-9][0-9]* oom=0 held=0 blocked=0* ignored=0* flusher=\(0\|-1\)\$" "$runs" || fail "$(cat "$runs")"
[ "$(status space_warning)" = 80 ] && [ "$(status health)" = ok ] || fail "status does not say so"
"$lamina" status "$mnt" | grep -q "^warning *80 %" || fail "status does not say so"
grep -q 'lamina_space_warning_percent{pool="small"} 80' "$mnt/.lamina/lamina.prom" || fail "lamina.prom"
grep -q "80 % of the space is used: .* free; delete devices, discard (fstrim).*lamina blob grow $image" \
  "$work/log" || fail "$(cat "$work/log")"

step "down, and up to 92 %: it is run again; it fails, and the log says so"
"$lamina" rm "$mnt/filler"
"$lamina" sync "$mnt"
[ "$(status space_warning)" = None ] || fail "the warning stays"
grep -q "no longer short" "$work/log" || fail "$(cat "$work/log")"
fill 92
ran 90
for _ in $(seq 50); do grep -q "page-me ended with exit code 3" "$work/log" && break; sleep 0.1; done
grep -q "page-me ended with exit code 3" "$work/log" || fail "$(cat "$work/log")"

step "until it is full; then a removal makes it well"
! dd if=/dev/urandom of="$mnt/rest" bs=64K count=8192 status=none 2>/dev/null || fail "it all fitted"
ran 100
[[ $(status health) == full:* ]] || fail "health is $(status health)"
"$lamina" rm "$mnt/rest" "$mnt/filler"
"$lamina" sync "$mnt"
[ "$(status health)" = ok ] || fail "health is $(status health)"
step "passed"
