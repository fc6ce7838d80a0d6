# SPDX-License-Identifier: Apache-2.0
"""`cp` of a fully mapped device of 100 GiB, and `lamina clone` of one half full with 10^6 holes."""

import ctypes
import os
import time
from statistics import median

from .. import fio
from ..lamina import Pool
from ..machine import sh
from ..report import Check, Row

NAME = "share"
GIB = 1 << 30
PUNCH, KEEP_SIZE = 2, 1  # FALLOC_FL_*
TIMES = 5


def _share(source, target, count):
    """Fills `target` with the first GiB of `source`, `count` times."""
    with open(source, "rb") as given, open(target, "r+b") as taken:
        for number in range(count):
            done = 0
            while done < GIB:
                done += os.copy_file_range(given.fileno(), taken.fileno(), GIB - done, done,
                                           number * GIB + done)


def _punch(path, size, holes):
    """`holes` holes, evenly, that take half of it."""
    libc = ctypes.CDLL(None, use_errno=True)
    each = size // holes
    hole = each // 2 // 4096 * 4096
    step = each // 4096 * 4096
    with open(path, "r+b") as file:
        for number in range(holes):
            if libc.fallocate(file.fileno(), PUNCH | KEEP_SIZE, ctypes.c_int64(number * step),
                              ctypes.c_int64(hole)) != 0:
                raise OSError(ctypes.get_errno(), "fallocate")


def _seconds(*command):
    begin = time.monotonic()
    sh(*command)
    return time.monotonic() - begin


def run(bench):
    row = Row(NAME, "copies that share")
    if "lamina" not in bench.names:
        return bench.without(row, "lamina")
    count, holes = (100, 10**6) if not bench.plan.quick else (4, 10**4)
    pool = Pool(bench.folder, "share", 4096)
    one, disk = pool.create("one", 1024), pool.create("disk", count * 1024)
    fio.fill(one, 1024)
    pool.checkpoint()
    used = pool.status()["used"]
    begin = time.monotonic()
    _share(one, disk, 1)
    if pool.status()["used"] - used > GIB // 2:
        raise RuntimeError("copy_file_range writes what it should share")
    _share(one, disk, count)
    row.notes.append(f"{count} ranges of 1 GiB shared in {time.monotonic() - begin:.2f} s, "
                     f"{os.stat(disk).st_blocks >> 21} GiB mapped, "
                     f"{pool.status()['used'] >> 20} MiB used")
    copies = [_seconds("cp", disk, f"{disk}-copy{n}") for n in range(TIMES)]
    row.notes.append("cp, ms: " + " ".join(f"{t * 1e3:.1f}" for t in copies))
    row.checks.append(Check(f"cp of {count} GiB, fully mapped, ms", median(copies) * 1e3, 50,
                            at_least=False))
    _punch(disk, count * GIB, holes)
    pool.checkpoint()
    row.notes.append(f"{pool.status()['extents']} extents with the holes")
    clones = [_seconds(pool.program, "clone", disk, f"clone{n}") for n in range(TIMES)]
    row.notes.append("lamina clone, ms: " + " ".join(f"{t * 1e3:.1f}" for t in clones))
    row.checks.append(Check(f"lamina clone, half full with {holes} holes, ms", median(clones) * 1e3,
                            50, at_least=False))
    pool.discard()
    return row
