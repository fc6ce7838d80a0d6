# SPDX-License-Identifier: Apache-2.0
"""What metadata costs on the medium: per extent at random 4K, and beside the payload of the log."""

from .. import fio
from ..lamina import Pool
from ..report import Check, Row

NAME = "metadata"


def _overhead(pool, before):
    """Record headers, summaries and checksums, as a percentage of the payload since `before`."""
    now = pool.status()
    part = sum(now[key] - before[key] for key in ("record_bytes", "summary_bytes"))
    return 100 * part / (now["written_user"] - before["written_user"])


def run(bench):
    row = Row(NAME, "metadata on the medium")
    if "lamina" not in bench.names:
        return bench.without(row, "lamina")
    size = bench.plan.data
    pool = Pool(bench.folder, "metadata", bench.plan.pool)
    disk = pool.create("disk", size)
    begin = pool.status()
    fio.run(disk, rw="randwrite", size=size, end_fsync=True, seed=900)
    row.checks.append(Check("records, summaries and checksums at random 4K, % of the payload",
                            _overhead(pool, begin), 3, at_least=False))
    pool.checkpoint()
    status = pool.status()
    row.checks.append(Check("maps, node table, device table, checkpoints: bytes an extent, one copy",
                            status["metadata_bytes"] / max(1, status["extents"]), 7,
                            at_least=False))
    row.notes.append(f"{status['extents']} extents, {status['metadata_bytes']} bytes")
    disk = pool.create("sequential", size)
    begin = pool.status()
    fio.run(disk, rw="write", bs="1m", depth=8, size=size, end_fsync=True)
    row.checks.append(Check("the same, sequentially", _overhead(pool, begin), 0.6, at_least=False))
    pool.discard()
    return row
