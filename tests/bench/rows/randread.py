# SPDX-License-Identifier: Apache-2.0
"""4K random read, depth 32, cold."""

from .. import fio
from ..report import Row

NAME = "randread"


def run(bench):
    row = Row(NAME, "4K random read, depth 32, cold", "k IOPS", scale=1000)

    def one(contender, number):
        contender.cold()
        return fio.run(contender.file, rw="randread", size=bench.plan.data,
                       seconds=bench.plan.seconds, seed=100 + number)

    bench.alternate(row, one)
    row.ratio("lamina / qcow2", "qcow2", 4)
    row.ratio("lamina / raw", "raw", 0.75)
    return row
