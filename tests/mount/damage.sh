#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The damage bench, a few seeds of lamina alone: no byte that is not what belongs there, no clean bill
# over a loss, and no single block of metadata that costs anything.
# runs: always
# limit: 300
source "$(dirname "$0")/lib.sh"
needs python3

step "tools/damage --quick"
LAMINA=$lamina "$top/tools/damage" --quick --json "$work/damage.json" >"$work/table" 2>&1 || {
  cat "$work/table"
  fail "something false was said or read, or one block of metadata cost something"
}
python3 - "$work/damage.json" <<'END' || fail "it damaged less than it should"
import json, sys
kinds = json.load(open(sys.argv[1]))["systems"]["lamina"]["kinds"]
assert {k["group"] for k in kinds} == {"metadata", "contiguous", "one block", "misplaced", "whole"}
assert all(t["damaged"] >= 4096 for k in kinds for t in k["trials"])
END
step "passed"
