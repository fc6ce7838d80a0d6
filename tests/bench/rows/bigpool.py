# SPDX-License-Identifier: Apache-2.0
"""A pool of 10 million extents: opening it, opening it after a crash, and memory.

The pool is real: every 4K block of a large device written at random, so no two extents join.
"""

from .. import fio
from ..lamina import Pool
from ..machine import drop_caches
from ..plan import CACHES, RSS_ALLOWANCE
from ..report import Check, Row

NAME = "bigpool"
SMALL_CACHE = 16
NODES_DEFAULT = 256
SPARE = 1.25  # of the pool over the data


def _reads(bench, disk, size, number, seconds=None):
    return fio.run(disk, rw="randread", size=size, seconds=seconds or bench.plan.seconds,
                   seed=1000 + number)


def run(bench):
    row = Row(NAME, "a pool of many extents: random reads with a small node cache against all "
              "cached", "k IOPS", scale=1000)
    if "lamina" not in bench.names:
        return bench.without(row, "lamina")
    room = int((bench.folder.free_mib() - 2048) / SPARE)
    size = min(bench.plan.extents * 4 // 1024, room)
    if size * 256 + 256 < bench.plan.extents:
        row.notes.append(f"there is room for {size * 256} extents only, not {bench.plan.extents}")
    pool = Pool(bench.folder, "bigpool", int(size * SPARE) + 1024)
    disk = pool.create("disk", size)
    fio.run(disk, rw="randwrite", size=size, end_fsync=True, seed=999)
    pool.checkpoint()
    row.notes.append(f"{pool.status()['extents']} extents; RSS after writing them "
                     f"{pool.rss_mib():.0f} MiB")
    row.checks.append(Check("RSS after writing, MiB", pool.rss_mib(), CACHES + RSS_ALLOWANCE,
                            at_least=False))
    pool.stop()
    drop_caches()
    opened = pool.start()
    row.checks.append(Check("opening it, s", opened, 1, at_least=False))
    row.notes.append(f"the daemon had read {pool.medium_bytes() / 2**20:.1f} MiB when it answered")

    for number in range(1, bench.rounds + 1):
        samples = {}
        # All of the map in the cache: read once before what is counted.
        _reads(bench, disk, size, number)
        samples["cached"] = _reads(bench, disk, size, 50 + number)
        pool.use([f"memory: {{nodes: {SMALL_CACHE}M}}"])
        pool.cold()
        _reads(bench, disk, size, number, seconds=2)
        samples["small"] = _reads(bench, disk, size, 50 + number)
        limit = CACHES - NODES_DEFAULT + SMALL_CACHE + RSS_ALLOWANCE
        row.checks.append(Check(f"round {number}: RSS with nodes at {SMALL_CACHE} MiB, MiB",
                                pool.rss_mib(), limit, at_least=False))
        pool.use(None)
        pool.cold()
        row.rounds.append(samples)
    row.ratio(f"nodes at {SMALL_CACHE} MiB / all cached", "cached", 0.4, of="small")

    fio.run(disk, rw="randwrite", size=size, amount=bench.plan.checkpoint_log, end_fsync=True,
            seed=1100)
    log = pool.status()["log_bytes"]
    pool.kill()
    drop_caches()
    row.checks.append(Check("opening it after a crash, s", pool.start(), 3, at_least=False))
    row.notes.append(f"with {log >> 20} MiB of log to roll forward")
    pool.discard()
    return row
