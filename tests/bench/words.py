# SPDX-License-Identifier: Apache-2.0
"""Pools far larger than the disk they lie on.

They lie on a disk that keeps all metadata, and of each block of payload the word that it repeats
(tests/bigpool/word_disk.h), so one of 10 million extents takes a minute and a GiB.
"""

import os
import struct
from pathlib import Path

from . import fio
from .lamina import TOP, Pool
from .machine import Missing

BLOCK = 4096
SPARE = 1.25  # of a pool over its data


def _daemon():
    path = Path(os.environ.get("LAMINA_WORDS", TOP / "build/release/tests/bigpool/lamina_words"))
    if not path.exists():
        raise Missing(f"{path} is not built")
    return path


class WordPool(Pool):
    """The words stand for the payload: a memory of the kernel's, not of the daemon's."""

    def __init__(self, folder, label, mib, settings=None):
        super().__init__(folder, label, mib, settings, daemon=_daemon())

    def start(self):
        words = Path(f"{self.image}.words")
        if words.exists():
            with words.open("rb") as file:
                while file.read(1 << 20):
                    pass
        return super().start()

    def end(self):
        super().end()
        Path(f"{self.image}.words").unlink(missing_ok=True)


def pool_of_extents(bench, label, extents, more=1024):
    """A pool with a device of so many extents, and MiB besides: pool, path, size of it in MiB.

    Every 4K block of the device is written once, at random, so that no two extents join.
    """
    size = extents * BLOCK >> 20
    pool = WordPool(bench.folder, label, int(size * SPARE) + more)
    disk = pool.create("disk", size)
    fio.run(disk, rw="randwrite", size=size, end_fsync=True, seed=999, words=True)
    pool.checkpoint()
    return pool, disk, size


def write_words(file, length, number):
    """The first `length` bytes, each block one word over and over, others for each number."""
    blocks = (struct.pack("<Q", (number + 1 << 32) + block) * (BLOCK // 8)
              for block in range(length // BLOCK))
    os.pwrite(file.fileno(), b"".join(blocks), 0)
