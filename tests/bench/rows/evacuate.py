# SPDX-License-Identifier: Apache-2.0
"""Everything on one blob to another of its tier, until the first is empty, beside a plain copy of as
much from the first to the second. To and fro: what was emptied is removed and added again. What is
emptied is full of holes afterwards, so the file that is written to is made anew for both."""

import json
import os
import time

from .. import contenders
from ..fio import Sample
from .. import fio
from ..lamina import Pool
from ..machine import drop_caches, sh
from ..report import Row

NAME = "evacuate"


class Pair(Pool):
    """A journal, and one transparent blob; another comes and goes."""

    def __init__(self, folder, mib):
        self.blobs = {}
        for name in ("one", "two"):
            self.blobs[name] = folder.path / f"{NAME}-{name}.img"
            contenders.make_file(self.blobs[name], mib)
            self._wipe(name)
        super().__init__(folder, NAME, mib, self._lines("one"))

    def _wipe(self, name):
        """Nothing is left at its ends that `format` and `add` would not destroy."""
        with open(self.blobs[name], "r+b") as file:
            file.write(bytes(1 << 20))
            file.seek(-(1 << 20), os.SEEK_END)
            file.write(bytes(1 << 20))

    def copy(self, source, target, mib):
        """The seconds that a plain copy takes, over a file whose blocks are all written."""
        size = self.blobs[target].stat().st_size >> 20
        contenders.make_file(self.blobs[target], size)
        drop_caches()
        begin = time.monotonic()
        sh("dd", f"if={self.blobs[source]}", f"of={self.blobs[target]}", "bs=1M", f"count={mib}",
           "iflag=direct", "oflag=direct", "conv=notrunc,fsync", "status=none")
        seconds = time.monotonic() - begin
        self._wipe(target)
        return seconds

    def _lines(self, *names):
        return [f"  - {{name: {name}, kind: transparent, path: {self.blobs[name]}}}"
                for name in names] + ["aging:", "  journal: {keep_free: 0%, idle: 1000h}"]

    def add(self, name):
        self.use(self._lines("one", "two"))
        sh(self.program, "blob", "add", self._config, name)

    def evacuate(self, name):
        return json.loads(sh(self.program, "blob", "evacuate", self.mount, name, "--json"))

    def remove(self, name):
        sh(self.program, "blob", "remove", self.mount, name)
        self.use(self._lines("two" if name == "one" else "one"))

    def discard(self):
        super().discard()
        for path in self.blobs.values():
            path.unlink(missing_ok=True)


def run(bench):
    row = Row(NAME, "from one blob to another, and a plain copy of as much", "MiB/s",
              figure="mib_s")
    if "lamina" not in bench.names:
        return bench.without(row, "lamina")
    size = 256 if bench.plan.quick else 2048
    pool = Pair(bench.folder, size + size // 2)
    disk = pool.create("disk", size)
    fio.run(disk, rw="write", bs="1m", depth=8, size=size, end_fsync=True, seed=2200)
    sh(pool.program, "age", pool.mount)
    source, target = "one", "two"
    for _ in range(bench.rounds):
        samples = {}
        samples["copy"] = Sample(mib_s=size / pool.copy(source, target, size))
        pool.add(target)
        drop_caches()
        begin = time.monotonic()
        moved = pool.evacuate(source)["moved_bytes"] / (1 << 20)
        samples["lamina"] = Sample(mib_s=moved / (time.monotonic() - begin))
        pool.remove(source)
        source, target = target, source
        row.rounds.append(samples)
    row.ratio("lamina / copy", "copy", 0.8)
    pool.discard()
    return row
