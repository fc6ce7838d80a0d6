# SPDX-License-Identifier: Apache-2.0
"""fsync while a checkpoint of 1 GiB of random log runs, against fsync without one."""

import threading

from .. import fio
from ..lamina import Pool
from ..report import Check, Row

NAME = "checkpoint"


def _fsyncs(disk, size, seed, seconds):
    job = fio.Job([disk], rw="randwrite", depth=1, size=size, seconds=seconds, fsync=True, seed=seed)
    return job


def run(bench):
    row = Row(NAME, "4K write + fsync at depth 1 without and during a checkpoint; latency of fsync",
              "us", figure="p50_us")
    if "lamina" not in bench.names:
        return bench.without(row, "lamina")
    size = bench.plan.data
    pool = Pool(bench.folder, "checkpoint", bench.plan.pool)
    disk, other = pool.create("disk", size), pool.create("other", 256)
    fio.fill(disk, size)
    fio.fill(other, 256)
    worst = 0
    for number in range(1, bench.rounds + 1):
        pool.checkpoint()
        without = _fsyncs(other, 256, 800 + number, bench.plan.seconds).result()
        pool.checkpoint()
        fio.run(disk, rw="randwrite", size=size, amount=bench.plan.checkpoint_log, end_fsync=True,
                seed=810 + number)
        before = pool.status()["checkpoints"]
        job = _fsyncs(other, 256, 820 + number, 120)
        # fio is at work before the checkpoint begins, and ends when it ends.
        timer = threading.Timer(1, lambda: (pool.checkpoint(), job.stop()))
        timer.start()
        during = job.result()
        timer.join()
        if pool.status()["checkpoints"] == before:
            row.notes.append(f"round {number}: no checkpoint was counted")
        for sample in (without, during):
            for key, value in sample.sync.items():
                setattr(sample, key, value)
        worst = max(worst, during.max_us)
        row.rounds.append({"without": without, "during": during})
    row.ratio("median during / without, at most 1.5", "without", of="during")
    row.checks[-1].target, row.checks[-1].at_least = 1.5, False
    row.checks.append(Check("the longest fsync during it, ms", worst / 1000, 100, at_least=False))
    row.notes.append("`during` begins one second before the checkpoint does")
    pool.discard()
    return row
