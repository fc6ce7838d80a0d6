# SPDX-License-Identifier: Apache-2.0
"""What cleaning writes again: payload written and copied over payload written.

The device is 0.8 of all segments, the reserve included. It is overwritten until the garbage is spread
as it will stay; then as much again is counted: uniformly at random, and with 90 % of the writes to
10 % of the blocks. Of segments there are as many as a pool of 10 GiB has by default.
"""

from .. import fio
from ..report import Check, Row
from ..words import WordPool

NAME = "cleaning"
LIVE = 0.8
BEFORE, COUNTED = 2, 2  # x the device
SKEWS = (("uniform", None, 3.4), ("90 % to 10 %", "zoned:90/10:10/90", 2.3))


def run(bench):
    row = Row(NAME, f"write amplification of cleaning, {LIVE:.0%} of all segments live")
    if "lamina" not in bench.names:
        return bench.without(row, "lamina")
    for name, skew, bound in SKEWS:
        pool = WordPool(bench.folder, "cleaning", bench.plan.data, ["segment: 2M"])
        blob = pool.status()["blobs"][0]
        size = int(blob["segments_total"] * blob["segment_bytes"] * LIVE) >> 20
        disk = pool.create("disk", size)
        fio.run(disk, rw="write", bs="1m", depth=8, size=size, end_fsync=True, words=True)

        def overwrite(seed):
            fio.run(disk, rw="randwrite", size=size, end_fsync=True, seed=seed, words=True,
                    skew=skew, with_repeats=True)

        for number in range(BEFORE):
            overwrite(1400 + number)
        begin = pool.status()
        for number in range(COUNTED):
            overwrite(1410 + number)
        end = pool.status()
        user, moved, nodes = (end[key] - begin[key]
                              for key in ("written_user", "written_moved", "written_nodes"))
        row.checks.append(Check(f"{name}: payload written and copied / written",
                                (user + moved) / user, bound, at_least=False))
        medium = end["written_medium"] - begin["written_medium"]
        row.notes.append(f"{name}: device {size} MiB, {user >> 20} MiB written, {moved >> 20} MiB "
                         f"copied, {nodes >> 20} MiB of nodes and tables, "
                         f"{medium / user:.2f} x to the medium in all")
        pool.discard()
    return row
