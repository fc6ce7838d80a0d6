# SPDX-License-Identifier: Apache-2.0
"""1 MiB sequential, depth 8: write, read, and reading back what was written at random."""

from .. import fio
from ..report import Check, Row

NAME = "sequential"


def run(bench):
    row = Row(NAME, "1 MiB sequential, depth 8: write, cold read, cold read after random writes",
              "MiB/s", figure="mib_s")
    options = dict(bs="1m", depth=8, size=bench.plan.data)
    raw_and_lamina = [n for n in bench.names if n in ("raw", "lamina", "btrfs")]
    for number in range(1, bench.rounds + 1):
        samples = {}
        for name in bench.names:
            contender = bench.contender(name)
            if contender is None:
                continue
            samples[name + " w"] = fio.run(contender.file, rw="write", end_fsync=True, **options)
            contender.cold()
            samples[name + " r"] = fio.run(contender.file, rw="read", **options)
        row.rounds.append(samples)
    for number in range(1, bench.rounds + 1):
        for name in raw_and_lamina:
            contender = bench.contender(name)
            if contender is None:
                continue
            fio.run(contender.file, rw="randwrite", size=bench.plan.data, end_fsync=True,
                    seed=500 + number)
            contender.cold()
            row.rounds[number - 1][name + " rr"] = fio.run(contender.file, rw="read", **options)
    for what, letter in (("write", "w"), ("read", "r")):
        row.ratio(f"{what}, lamina / raw", f"raw {letter}", 0.9, of=f"lamina {letter}")
    for name in raw_and_lamina:
        if row.median(f"{name} rr"):
            row.checks.append(Check(f"read back after random writes, {name}, part of its own read",
                                    row.median(f"{name} rr") / row.median(f"{name} r")))
    return row
