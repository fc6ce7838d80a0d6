# SPDX-License-Identifier: Apache-2.0
"""How fast the maps are walked: extents a second, on one core and on two, nodes cached.

On one core the whole daemon runs on it: reading the nodes and going through them are two threads even
with one worker, so counting workers alone would compare two cores with two.

The pool is that of row bigpool: every 4K block of a large device written at random. Once nobody
shares, once a snapshot does, which makes the walk compare who refers to each block.
"""

import os
import statistics

from .. import fio
from ..machine import wait_for
from ..report import Check, Row
from ..words import pool_of_extents, write_words

NAME = "walk"
WALKS = 6  # a round, on one core and on two in turn


def _run_on(pool, cores):
    """From here on all threads of the daemon run on so many."""
    for thread in os.listdir(f"/proc/{pool.pid()}/task"):
        os.sched_setaffinity(int(thread), sorted(os.sched_getaffinity(0))[:cores])


def _walk(pool, disk, number):
    """Extents a second, in millions."""
    with open(disk, "r+b", buffering=0) as file:  # what was walked once is not walked again
        write_words(file, 4096, number)
    os.setxattr(pool.mount, "user.lamina.walk", b"1")
    asked = pool.status()["walk"]["asked"]
    wait_for("the walk", lambda: pool.status()["walk"]["answered"] >= asked, seconds=300)
    walk = pool.status()["walk"]
    if not walk["complete"]:
        raise RuntimeError("the walk was not complete")
    return walk["extents"] / walk["took_s"] / 1e6, walk


def run(bench):
    row = Row(NAME, "a walk of all maps, nodes cached; million extents a second")
    if "lamina" not in bench.names:
        return bench.without(row, "lamina")
    pool, disk, size = pool_of_extents(bench, "walk", bench.plan.extents)
    for what in ("alone", "with a snapshot"):
        if what != "alone":
            os.setxattr(disk, "user.lamina.snapshot", b"snapshot")
        pool.stop()
        pool.start()
        fio.run(disk, rw="randread", size=size, seconds=bench.plan.seconds * 3, seed=1200)
        _walk(pool, disk, 1)  # nodes that no read has met come from the medium, once
        found = {1: [], 2: []}
        for number in range(WALKS * bench.rounds):
            cores = 1 + number % 2
            _run_on(pool, cores)
            speed, walk = _walk(pool, disk, 2 + number)
            found[cores].append(speed)
        speeds = {cores: statistics.median(of) for cores, of in found.items()}
        row.notes += [f"{what}, {cores} cores: {speeds[cores]:.1f} M extents/s "
                      f"({min(of):.1f} to {max(of):.1f})" for cores, of in found.items()]
        row.notes.append(f"{what}: {walk['extents']} extents in {walk['passes']} passes")
        row.checks.append(Check(f"{what}, 2 cores, M extents/s", speeds[2],
                                10 if what == "alone" else None))
        row.checks.append(Check(f"{what}, 2 cores over 1", speeds[2] / speeds[1],
                                1.6 if what == "alone" else None))
    pool.discard()
    return row
