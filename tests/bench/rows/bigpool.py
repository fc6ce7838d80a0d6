# SPDX-License-Identifier: Apache-2.0
"""A pool of 10 million extents: opening it, opening it after a crash, and memory.

The pool lies on a disk that keeps all metadata and a word of each block (words.py). To read payload is to read a hole of the
file: a submission, but no wait for a device, so a node that is not cached stands out more here than on
a real disk.
"""

from .. import fio
from ..lamina import Pool
from ..machine import drop_caches
from ..plan import CACHES, RSS_ALLOWANCE
from ..report import Check, Row
from ..words import pool_of_extents

NAME = "bigpool"
SMALL_CACHE = 16
NODES_DEFAULT = 256
# Of a checkpoint's log: with the default settings one starts at 1 GiB, or at half of what layers of
# 64 MiB hold, which is 262,144 writes.
NOT_YET = 0.95
LARGE_ENOUGH = 18  # x that: in a smaller pool each sixteenth of it is enough for one


def _reads(bench, disk, size, number, seconds=None):
    return fio.run(disk, rw="randread", size=size, seconds=seconds or bench.plan.seconds,
                   seed=1000 + number)


def _open_clean(row, pool):
    pool.stop()
    drop_caches()
    opened = pool.start()
    row.checks.append(Check("nodes of the maps read when it was opened",
                            pool.status()["node_misses"], 0, at_least=False))
    row.checks.append(Check("opening it, s", opened, 1, at_least=False))
    row.notes.append(f"the daemon had read {pool.medium_bytes() / 2**20:.1f} MiB when it answered")


def _open_after_crash(bench, row, pool, disk, size, what, **options):
    pool.checkpoint()
    before = pool.status()["checkpoints"]
    amount = int(bench.plan.checkpoint_log * NOT_YET)
    fio.run(disk, rw="randwrite", size=size, amount=amount, end_fsync=True, seed=1100, **options)
    status = pool.status()
    if status["checkpoints"] != before:
        row.notes.append(f"{what}: a checkpoint came before the crash")
    pool.kill()
    drop_caches()
    row.checks.append(Check(f"opening it after a crash, {what}, s", pool.start(), 3,
                            at_least=False))
    row.notes.append(f"{what}: {status['log_bytes'] >> 20} MiB of log, "
                     f"{pool.status()['recovered_entries']} entries rolled forward")


def _on_the_disk(bench, row):
    """The words of a pool of words are read from memory, a log on the disk is not."""
    size = bench.plan.data
    pool = Pool(bench.folder, "crash", bench.plan.checkpoint_log * LARGE_ENOUGH)
    disk = pool.create("disk", size)
    fio.fill(disk, size)
    _open_after_crash(bench, row, pool, disk, size, "log on the disk")
    pool.discard()


def run(bench):
    row = Row(NAME, "a pool of many extents: random reads with a small node cache against all "
              "cached", "k IOPS", scale=1000)
    if "lamina" not in bench.names:
        return bench.without(row, "lamina")
    pool, disk, size = pool_of_extents(bench, "bigpool", bench.plan.extents)
    status = pool.status()
    row.notes.append(f"{status['extents']} extents, {status['metadata_bytes'] >> 20} MiB of maps and "
                     f"tables; the pool takes {pool.image.stat().st_blocks >> 11} MiB")
    row.checks.append(Check("RSS after writing, MiB", pool.rss_mib(), CACHES + RSS_ALLOWANCE,
                            at_least=False))
    _open_clean(row, pool)
    for number in range(1, bench.rounds + 1):
        samples = {}
        # All of the map in the cache: read once before what is counted.
        _reads(bench, disk, size, number)
        samples["cached"] = _reads(bench, disk, size, 50 + number)
        pool.use([f"memory: {{nodes: {SMALL_CACHE}M}}"])
        pool.cold()
        _reads(bench, disk, size, number)
        before = pool.status()["node_misses"]
        samples["small"] = _reads(bench, disk, size, 50 + number)
        row.notes.append(f"round {number}: {pool.status()['node_misses'] - before} nodes read with "
                         f"{SMALL_CACHE} MiB")
        limit = CACHES - NODES_DEFAULT + SMALL_CACHE + RSS_ALLOWANCE
        row.checks.append(Check(f"round {number}: RSS with nodes at {SMALL_CACHE} MiB, MiB",
                                pool.rss_mib(), limit, at_least=False))
        pool.use(None)
        pool.cold()
        row.rounds.append(samples)
    row.ratio(f"nodes at {SMALL_CACHE} MiB / all cached", "cached", 0.4, of="small")
    _open_after_crash(bench, row, pool, disk, size, "all extents", words=True)
    fio.run(disk, rw="randread", size=size, amount=bench.plan.checkpoint_log, seed=1101,
            words=True)
    row.notes.append(f"{bench.plan.checkpoint_log} MiB of it read and verified afterwards")
    pool.discard()
    _on_the_disk(bench, row)
    return row
