# SPDX-License-Identifier: Apache-2.0
"""4K random write, depth 32, the final fsync included."""

from .. import fio
from ..report import Row

NAME = "randwrite"


def run(bench):
    row = Row(NAME, "4K random write, depth 32, with the final fsync", "k IOPS", scale=1000)

    def one(contender, number):
        return fio.run(contender.file, rw="randwrite", size=bench.plan.data,
                       amount=bench.plan.writes, end_fsync=True, seed=200 + number)

    bench.alternate(row, one)
    row.ratio("lamina / qcow2", "qcow2", 12)
    row.ratio("lamina / raw", "raw", 1)
    return row
