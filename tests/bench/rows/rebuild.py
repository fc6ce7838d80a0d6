# SPDX-License-Identifier: Apache-2.0
"""A pool rebuilt from nothing: a million extents on a sparse file of 64 GiB, whose every superblock,
slot and node is noise. What is timed is `lamina repair`; that nothing is lost by it is the business
of tests/, but the first and last blocks of what was written are looked at."""

import json
import subprocess
import sys
import time

from .. import fio
from ..lamina import TOP, Pool
from ..machine import drop_caches, sh
from ..report import Check, Row

NAME = "rebuild"
POOL_MIB = 64 << 10


def run(bench):
    row = Row(NAME, "`lamina repair` of a pool without metadata, on a sparse file of "
                    f"{POOL_MIB >> 10} GiB")
    if "lamina" not in bench.names:
        return bench.without(row, "lamina")
    extents = min(bench.plan.extents, 1_000_000)
    pool = Pool(bench.folder, NAME, POOL_MIB)
    size = extents * 4096 >> 20
    disk = pool.create("disk", size)
    # Every block once, at random, so that no two extents join.
    fio.run(disk, rw="randwrite", size=size, end_fsync=True, refill=True, seed=2900)
    pool.checkpoint()
    sums = _some_blocks(disk, size)
    pool.stop()
    sh(sys.executable, TOP / "tests/mount/destroy_metadata.py", pool.image)
    drop_caches()
    begin = time.monotonic()
    out = subprocess.run([pool.program, "repair", pool.image, "--json"], capture_output=True,
                         text=True)
    took = time.monotonic() - begin
    if out.returncode != 0:
        raise RuntimeError(f"repair: {out.stdout[-500:]}{out.stderr[-500:]}")
    row.checks.append(Check("seconds for the rebuild", took, 10, at_least=False))
    pool.start()
    if _some_blocks(disk, size) != sums:
        raise RuntimeError("what was repaired reads otherwise")
    repaired = json.loads(out.stdout)
    row.notes.append(f"{repaired['extents']} extents from {repaired['segments']} segments")
    pool.discard()
    return row


def _some_blocks(disk, size):
    with open(disk, "rb") as file:
        blocks = []
        for at in range(0, size << 20, (size << 20) // 64 // 4096 * 4096):
            file.seek(at)
            blocks.append(file.read(4096))
        return blocks
