# SPDX-License-Identifier: Apache-2.0
"""4K random write with an fsync after each, depth 1."""

from .. import fio
from ..report import Row

NAME = "sync_write"


def run(bench):
    row = Row(NAME, "4K random write + fsync, depth 1 (percentiles: of the fsyncs)", "IOPS")

    def one(contender, number):
        sample = fio.run(contender.file, rw="randwrite", depth=1, size=bench.plan.data,
                         seconds=bench.plan.seconds, fsync=True, seed=300 + number)
        for key, value in sample.sync.items():
            setattr(sample, key, value)
        return sample

    bench.alternate(row, one)
    row.ratio("lamina / raw", "raw", 0.6)
    row.ratio("lamina / xfs", "xfs", 1.5)
    return row
