# SPDX-License-Identifier: Apache-2.0
"""Depth 1: a read, a write, and an empty round trip (a 4K read of a range never written)."""

from .. import fio
from ..report import Check, Row

NAME = "latency"


def run(bench):
    row = Row(NAME, "4K depth 1, mean latency", "us", figure="mean_us")
    lamina = bench.contender("lamina") if "lamina" in bench.names else None
    empty = lamina.create("empty", 1024) if lamina else None
    options = dict(depth=1, seconds=bench.plan.seconds)
    for number in range(1, bench.rounds + 1):
        samples = {}
        if empty:
            samples["empty"] = fio.run(empty, rw="randread", size=1024, seed=number, **options)
        for name in [n for n in ("raw", "lamina") if n in bench.names]:
            contender = bench.contender(name)
            size = dict(size=bench.plan.data, seed=400 + number)
            contender.cold()
            samples[name + " read"] = fio.run(contender.file, rw="randread", **size, **options)
            samples[name + " write"] = fio.run(contender.file, rw="randwrite", end_fsync=True,
                                               depth=1, amount=bench.plan.writes, **size)
        row.rounds.append(samples)
    if not lamina:
        return bench.without(row, "lamina")
    trip = row.median("empty")
    if row.median("raw read") is not None:
        bound = row.median("raw read") + 4 * trip
        row.checks.append(Check("read, us; raw + 4 empty round trips", row.median("lamina read"),
                                bound, at_least=False))
    row.checks.append(Check("write, us; 2 empty round trips", row.median("lamina write"), 2 * trip,
                            at_least=False))
    return row
