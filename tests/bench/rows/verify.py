# SPDX-License-Identifier: Apache-2.0
"""What it costs that every read is compared with its checksum: 4K random reads with the checksums
cached, against the same pool with `verify: moves`, which compares none. And with a cache of
checksums that holds less than half of them, so that most reads fetch theirs beside the data."""

from .. import fio
from ..lamina import Pool
from ..report import Row

NAME = "verify"
SETTINGS = {"verified": ["verify: reads"], "not verified": ["verify: moves"],
            "cold sums": ["verify: reads", "memory: {sums: 1M}"]}


def run(bench):
    row = Row(NAME, "4K random read, depth 32, each compared with its checksum", "k IOPS",
              scale=1000)
    if "lamina" not in bench.names:
        return bench.without(row, "lamina")
    names = list(SETTINGS)
    pool = Pool(bench.folder, NAME, bench.plan.pool, SETTINGS[names[0]])
    disk = pool.create("disk", bench.plan.data)
    fio.fill(disk, bench.plan.data)

    def reads(seconds, seed):
        return fio.run(disk, rw="randread", size=bench.plan.data, seconds=seconds, seed=seed,
                       with_repeats=True, endless=True)

    for number in range(1, bench.rounds + 1):
        samples = {}
        for name in names[number % len(names):] + names[:number % len(names)]:
            pool.stop()
            pool.use(SETTINGS[name])
            pool.start()
            reads(2, 2700 + number)  # nodes, and what checksums there is room for, come in
            samples[name] = reads(bench.plan.seconds, 2800 + number)
        row.rounds.append({name: samples[name] for name in names})
    row.ratio("verified / not verified, checksums cached", "not verified", 0.95, of="verified")
    row.ratio("verified / not verified, most checksums fetched", "not verified", of="cold sums")
    pool.discard()
    return row
