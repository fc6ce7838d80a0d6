# SPDX-License-Identifier: Apache-2.0
"""How fast data ages to a compression blob, on one core and on two.

On one core the whole daemon runs on it, from its first thread on, since workers take what the process
began with: reading, verifying and writing go on beside the compression even with one worker, so
counting workers alone would compare two cores with two. Beside it, what the machine has of a second
core: zstd alone, by one process and by two at a time.
"""

import os
import shutil
import statistics
import subprocess
import time

from .. import usr_image
from ..machine import drop_caches, sh, wait_for
from ..report import Check, Row
from ..tiers import TieredPool

NAME = "compression"


def _ended(mover):
    return mover["aging_answered"] >= mover["aging_asked"]


def _speed(bench, source, size, cores):
    """MiB a second that age."""
    pool = TieredPool(bench.folder, NAME, 2 * size, "compression")
    disk = pool.create("disk", size)
    sh("dd", f"if={source}", f"of={disk}", "bs=1M", "conv=notrunc,fsync", "oflag=direct",
       "status=none")
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(ours)[:cores])  # the daemon inherits it
    pool.cold()
    os.sched_setaffinity(0, ours)
    begin = time.monotonic()
    os.setxattr(pool.mount, "user.lamina.age", b"1")  # `lamina age` looks four times a second
    wait_for("aging", lambda: _ended(pool.status()["mover"]), seconds=300)
    seconds = time.monotonic() - begin
    aged = pool.status()["mover"]["aged_bytes"] / (1 << 20)
    pool.discard()
    return aged / seconds


def _zstd_alone(bench, source):
    """How many times as much two processes compress in a time as one."""
    parts = [bench.folder.path / f"{NAME}-part{n}" for n in range(2)]
    for n, part in enumerate(parts):
        sh("dd", f"if={source}", f"of={part}", "bs=1M", "count=256", f"skip={256 * n}", "status=none")

    def seconds(files):
        begin = time.monotonic()
        jobs = [subprocess.Popen(["zstd", "-q", "-3", "--single-thread", "-c", part],
                                 stdout=subprocess.DEVNULL) for part in files]
        for job in jobs:
            job.wait()
        return time.monotonic() - begin

    alone = sum(seconds([part]) for part in parts)
    ratio = alone / seconds(parts)
    for part in parts:
        part.unlink()
    return ratio


def run(bench):
    row = Row(NAME, "aging to a compression blob at level 3, on one core and on two")
    if "lamina" not in bench.names:
        return bench.without(row, "lamina")
    size = 256 if bench.plan.quick else bench.plan.data
    source, what = usr_image.make(bench.folder, size)
    drop_caches()
    found = {1: [], 2: []}
    for number in range(2 * bench.rounds):
        cores = 1 + number % 2
        found[cores].append(_speed(bench, source, size, cores))
    speeds = {cores: statistics.median(of) for cores, of in found.items()}
    row.notes += [f"{cores} cores: {speeds[cores]:.0f} MiB/s ({min(of):.0f} to {max(of):.0f})"
                  for cores, of in found.items()]
    if shutil.which("zstd"):
        row.notes.append(f"zstd -3 alone, two processes over one: {_zstd_alone(bench, source):.2f}")
    row.notes.append(what)
    row.checks.append(Check("2 cores over 1", speeds[2] / speeds[1], 1.7))
    source.unlink()
    return row
