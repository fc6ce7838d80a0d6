# SPDX-License-Identifier: Apache-2.0
"""fsync of a device untouched since its last one does no I/O on the medium."""

import os
import time

from ..lamina import Pool
from ..report import Check, Row

NAME = "idle_fsync"
FSYNCS = 200


def run(bench):
    row = Row(NAME, f"{FSYNCS} fsyncs of a device untouched since its last one")
    if "lamina" not in bench.names:
        return bench.without(row, "lamina")
    pool = Pool(bench.folder, "idle", 1024)
    disk = pool.create("disk", 64)
    with open(disk, "r+b") as file:
        file.write(os.urandom(1 << 20))
        file.flush()
        os.fsync(file.fileno())
        time.sleep(2)  # past flush_after
        before = pool.medium_bytes()
        begin = time.monotonic()
        for _ in range(FSYNCS):
            os.fsync(file.fileno())
        took = time.monotonic() - begin
        after = pool.medium_bytes()
    row.checks.append(Check("bytes that the daemon moved", after - before, 0, at_least=False))
    row.notes.append(f"{took / FSYNCS * 1e6:.0f} us each")
    pool.discard()
    return row
