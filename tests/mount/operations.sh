#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the table "In the mount" promises, by system calls: errnos, permissions, sizes, times, locks,
# listings, the control plane, and many requests at once in little memory.
# runs: always
# limit: 180
source "$(dirname "$0")/lib.sh"
needs python3 setpriv

chmod 755 "$work"  # for the other users that it becomes
pool 1G
step "system calls"
python3 "$(dirname "$0")/operations_checks.py" "$mnt"

step "more requests at once than their memory holds"
umount_pool
cat >"$work/pool.yaml" <<END
pool: pool
blobs:
  - {name: journal, kind: journal, path: $image}
memory: {requests: 8M}
END
"$lamina" mount "$work/pool.yaml" "$mnt" ${LAMINA_OPTIONS:-}
python3 "$(dirname "$0")/operations_checks.py" "$mnt" many
