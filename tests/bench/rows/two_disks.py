# SPDX-License-Identifier: Apache-2.0
"""Two journal blobs in the first tier beside one, on disks that are throttled so far that they are
the limit: what is written, and what is read of it cold."""

from statistics import median

from .. import contenders, fio
from ..lamina import Pool
from ..machine import Missing, attach, sh
from ..report import Check, Row
from ..throttle import Throttle

NAME = "two_disks"
RATE = 100 << 20  # bytes a second of each


class PoolOfLoops(Pool):
    """A pool of journal blobs on loop devices."""

    def __init__(self, folder, count, mib):
        self._images, loops = [], []
        for number in range(count):
            image = folder.path / f"{NAME}-{count}-{number}.img"
            contenders.make_file(image, mib)
            with open(image, "r+b") as file:  # nothing that format would not destroy
                file.write(bytes(1 << 20))
            loops.append(attach(image))
            folder.later(sh, "losetup", "-d", loops[-1])
            self._images.append(image)
        self.throttle = Throttle(folder, loops, RATE)
        self._lines = [f"  - {{name: disk{number}, kind: journal, path: {loop}, tier: 0}}"
                       for number, loop in enumerate(loops)]
        super().__init__(folder, f"{NAME}-{count}", mib, self._lines)

    def use(self, settings):
        self._config = self.image.with_suffix(".yaml")
        self._config.write_text(f"pool: {NAME}\nblobs:\n" + "\n".join(settings) + "\n")

    def start(self):
        self.options = self.throttle.options()
        seconds = super().start()
        self.throttle.hold(self.pid())
        return seconds

    def discard(self):
        super().discard()
        for image in self._images:
            image.unlink(missing_ok=True)


def _speeds(bench, count, size):
    pool = PoolOfLoops(bench.folder, count, 4 * size // count)  # nothing is cleaned
    disk = pool.create("disk", size)
    speeds = {"write": fio.run(disk, rw="write", bs="1m", depth=8, size=size, end_fsync=True,
                               seed=2600).mib_s}
    pool.cold()
    speeds["cold read"] = fio.run(disk, rw="read", bs="1m", depth=8, size=size).mib_s
    status, how = pool.status(), pool.throttle.how
    assert status["mover"]["moved_bytes"] == 0, "it moves data beside"
    pool.discard()
    return speeds, how


def run(bench):
    row = Row(NAME, "1 MiB sequential, depth 8, on two throttled disks in a tier and on one")
    if "lamina" not in bench.names:
        return bench.without(row, "lamina")
    size = 256 if bench.plan.quick else 1024
    found = {1: [], 2: []}
    try:
        for _ in range(bench.rounds):
            for count in found:
                speeds, how = _speeds(bench, count, size)
                found[count].append(speeds)
    except Missing as why:
        return bench.without(row, "lamina", why)
    for what in ("write", "cold read"):
        one, two = (median(speeds[what] for speeds in found[count]) for count in found)
        row.notes.append(f"{what}: one disk {one:.0f} MiB/s, two {two:.0f} MiB/s")
        row.checks.append(Check(f"{what}, two disks / one", two / one, 1.6))
    row.notes.append(f"each disk does {RATE >> 20} MiB/s, throttled {how}")
    return row
