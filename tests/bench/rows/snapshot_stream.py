# SPDX-License-Identifier: Apache-2.0
"""4K random write while ten snapshots of the device are taken each second, up to 1,000.

What is written between two snapshots is kept by the first, so a run from none to 1,000 at full speed
would need a pool of 30 times the device. Measured are the first hundred and the last: before those, 900
are taken with a few writes after each.
"""

import os
import threading
import time

from .. import fio
from ..lamina import Pool
from ..report import Check, Row

NAME = "snapshot_stream"
EACH_S = 0.1
MOST = 1000
STRETCH = 100
MIB_S = 600  # more than is written in a second


class Stream:
    """Takes snapshots at a fixed pace from `first` on until it is stopped."""

    def __init__(self, pool, first):
        self._pool, self._number = pool, first
        self._first, self._stop = first, threading.Event()
        self.longest = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        due = time.monotonic() + EACH_S
        while not self._stop.wait(max(0, due - time.monotonic())) and self._number < MOST:
            due += EACH_S
            begin = time.monotonic()
            self._pool.snapshot_of("disk", f"s{self._number}")
            self.longest = max(self.longest, time.monotonic() - begin)
            self._number += 1

    def end(self):
        self._stop.set()
        self._thread.join()
        return self._number - self._first


def _take(pool, disk, first, last):
    with open(disk, "r+b", buffering=0) as file:
        for number in range(first, last):
            pool.snapshot_of("disk", f"s{number}")
            os.pwrite(file.fileno(), os.urandom(1 << 16), number << 16)


def run(bench):
    row = Row(NAME, "4K random write, depth 32, without and with ten snapshots a second",
              "k IOPS", scale=1000)
    if "lamina" not in bench.names:
        return bench.without(row, "lamina")
    seconds = min(STRETCH * EACH_S, bench.plan.seconds)
    size = bench.plan.data // 2
    pool = Pool(bench.folder, "stream", size * 2 + int(2 * seconds * MIB_S))
    disk = pool.create("disk", size)
    fio.fill(disk, size)

    def write(seed):
        return fio.run(disk, rw="randwrite", size=size, seconds=seconds, endless=True,
                       end_fsync=True, seed=seed)

    def stretch(first, seed):
        stream = Stream(pool, first)
        sample = write(seed)
        taken = stream.end()
        row.notes.append(f"{taken} snapshots from number {first} on in {seconds} s, the slowest in "
                         f"{stream.longest * 1e3:.1f} ms")
        return sample

    for number in range(1, bench.rounds + 1):
        samples = {"without": write(1300 + number)}
        samples["first 100"] = stretch(0, 1310 + number)
        for name in os.listdir(pool.mount):
            if name != "disk":
                (pool.mount / name).unlink()
        pool.checkpoint()
        _take(pool, disk, 0, MOST - STRETCH)
        samples["last 100"] = stretch(MOST - STRETCH, 1320 + number)
        for name in os.listdir(pool.mount):
            if name != "disk":
                (pool.mount / name).unlink()
        pool.checkpoint()
        row.rounds.append(samples)
    for name in ("first 100", "last 100"):
        row.ratio(f"{name} / without", "without", 0.8, of=name)
    pool.discard()
    return row
