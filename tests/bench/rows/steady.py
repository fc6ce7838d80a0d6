# SPDX-License-Identifier: Apache-2.0
"""4K random write in steady state: a device of 60 % of the pool, overwritten 3 times at random."""

from .. import fio
from ..lamina import Pool
from ..report import Row

NAME = "steady"
PART_OF_POOL = 0.6
OVERWRITES = 3


def run(bench):
    row = Row(NAME, "4K random write, depth 32, device 60 % of the pool, after 3 x random "
              "overwriting", "k IOPS", scale=1000)
    if "lamina" not in bench.names:
        return bench.without(row, "lamina")
    size = bench.plan.data
    pool = Pool(bench.folder, "steady", int(size / PART_OF_POOL))
    disk = pool.create("disk", size)
    fio.fill(disk, size)
    for number in range(OVERWRITES):
        fio.run(disk, rw="randwrite", size=size, end_fsync=True, seed=600 + number)
    raw = bench.contender("raw") if "raw" in bench.names else None
    for number in range(1, bench.rounds + 1):
        options = dict(rw="randwrite", size=size, amount=bench.plan.writes, end_fsync=True,
                       seed=610 + number)
        samples = {"raw": fio.run(raw.file, **options)} if raw else {}
        samples["lamina"] = fio.run(disk, **options)
        row.rounds.append(samples)
    status = pool.status()
    row.notes.append(f"written to the medium {status['written_medium'] / status['written_user']:.2f}"
                     " x what the user wrote")
    row.ratio("lamina in steady state / raw", "raw", 0.6)
    pool.discard()
    return row
