# SPDX-License-Identifier: Apache-2.0
"""What was written at random, after it has aged to a transparent blob: how many extents it is, and how
fast it is read."""

import time

from .. import fio
from ..report import Check, Row
from ..tiers import TieredPool

NAME = "aged"


def run(bench):
    row = Row(NAME, "1 MiB sequential cold read, depth 8, of random writes that have aged", "MiB/s",
              figure="mib_s")
    if "lamina" not in bench.names:
        return bench.without(row, "lamina")
    size = 256 if bench.plan.quick else 2048
    pool = TieredPool(bench.folder, NAME, 2 * size, "transparent")
    disk = pool.create("disk", size)
    fio.run(disk, rw="randwrite", size=size, end_fsync=True, seed=2100)
    pool.checkpoint()
    before = pool.status()
    begin = time.monotonic()
    pool.age()
    seconds = time.monotonic() - begin
    after = pool.status()
    row.checks.append(Check("extents, before / after", before["extents"] / after["extents"], 100))
    row.checks.append(Check("metadata, before / after",
                            before["metadata_bytes"] / after["metadata_bytes"]))
    row.notes.append(f"{before['extents']} extents, {before['metadata_bytes']} bytes of metadata; "
                     f"after {after['extents']}, {after['metadata_bytes']}; aged "
                     f"{after['mover']['aged_bytes'] / (1 << 20) / seconds:.0f} MiB/s")
    for _ in range(bench.rounds):
        samples = {}
        raw = bench.contender("raw") if "raw" in bench.names else None
        options = dict(rw="read", bs="1m", depth=8, size=size)
        if raw:
            raw.cold()
            samples["raw"] = fio.run(raw.file, **options)
        pool.cold()
        samples["lamina"] = fio.run(disk, **options)
        row.rounds.append(samples)
    row.ratio("lamina / raw", "raw", 0.9)
    pool.discard()
    return row
