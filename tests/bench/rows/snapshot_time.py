# SPDX-License-Identifier: Apache-2.0
"""Taking a snapshot: of an empty device, of one of 10 million extents, and the 10,000th.

Seen from setxattr(2), which returns when the snapshot is durable, and in the daemon: from the request
to the step in the log, without the flush, which `status` counts.
"""

import time
from statistics import median

from .. import fio
from ..report import Check, Row
from ..words import pool_of_extents

NAME = "snapshot_time"
TAKEN = 100
MOST = 10_000


class Taker:
    def __init__(self, pool):
        self._pool, self._number = pool, 0

    def take(self, device):
        """Seconds seen by who asks."""
        begin = time.monotonic()
        self._pool.snapshot_of(device, f"{device}@{self._number}")
        self._number += 1
        return time.monotonic() - begin

    def measure(self, device):
        """A sample as fio's: of TAKEN snapshots; and what the daemon took for each, us."""
        seen, inside = [], []
        for _ in range(TAKEN):
            seen.append(self.take(device) * 1e6)
            inside.append(self._pool.status()["snapshots"]["last_us"])
        seen.sort()
        sample = fio.Sample(mean_us=sum(seen) / TAKEN, p50_us=median(seen), max_us=seen[-1],
                            p99_us=seen[TAKEN * 99 // 100 - 1], p999_us=seen[-1])
        return sample, inside

    def up_to(self, device, count):
        while self._number < count:
            self.take(device)


def run(bench):
    row = Row(NAME, "taking a snapshot, seen from setxattr", "us", figure="p50_us")
    if "lamina" not in bench.names:
        return bench.without(row, "lamina")
    # Each of the 10,000 has its own lines in the tables of a checkpoint.
    pool, _, _ = pool_of_extents(bench, "snapshots", bench.plan.extents, more=2048)
    pool.create("empty", 1024)
    row.notes.append(f"{pool.status()['extents']} extents")
    inside = {}
    for _ in range(bench.rounds):
        taker, samples = Taker(pool), {}
        for name, device in (("empty", "empty"), ("extents", "disk")):
            samples[name], inside[name] = taker.measure(device)
        taker.up_to("disk", MOST - TAKEN)
        samples["10,000th"], inside["10,000th"] = taker.measure("disk")
        row.rounds.append(samples)
        for name, figures in inside.items():
            row.notes.append(f"in the daemon, {name}: {median(figures):.0f} us, at most "
                             f"{max(figures):.0f} us")
            row.checks.append(Check(f"{name}: in the daemon, median, us", median(figures), 1000,
                                    at_least=False))
        for path in list(pool.mount.iterdir()):
            if "@" in path.name:
                path.unlink()
        pool.checkpoint()
    for name in ("empty", "extents", "10,000th"):
        row.checks.append(Check(f"{name}: seen from setxattr, ms", row.median(name) / 1000, 10,
                                at_least=False))
    for name in ("extents", "10,000th"):
        row.ratio(f"{name} / empty, at most 1.5", "empty", 1.5, of=name)
        row.checks[-1].at_least = False
    pool.discard()
    return row
