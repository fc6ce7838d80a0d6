# SPDX-License-Identifier: Apache-2.0
"""4K random write right after a snapshot of the filled device."""

from .. import fio
from ..report import Row

NAME = "snapshot_write"
PEERS = ("qcow2", "xfs", "btrfs")


def run(bench):
    row = Row(NAME, "4K random write, depth 32, right after a snapshot, with the final fsync",
              "k IOPS", scale=1000)

    without = {}

    def write(contender, number):
        return fio.run(contender.file, rw="randwrite", size=bench.plan.data,
                       amount=bench.plan.writes, end_fsync=True, seed=1200 + number)

    def one(contender, number):
        if contender.name == "lamina":
            without[number] = write(contender, number)
        contender.snapshot()
        sample = write(contender, number)
        contender.drop_snapshot()
        return sample

    bench.alternate(row, one, [n for n in bench.names if n in (*PEERS, "lamina")])
    for number, sample in without.items():
        row.rounds[number - 1]["without"] = sample
    row.ratio("lamina / lamina without a snapshot", "without", 0.9)
    row.ratio("lamina / qcow2 overlay", "qcow2", 12)
    row.ratio("lamina / xfs after a reflink", "xfs", 5)
    row.ratio("lamina / btrfs after a reflink", "btrfs", 8)
    return row
