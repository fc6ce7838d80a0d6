# SPDX-License-Identifier: Apache-2.0
"""A pool of two tiers, and what others make of data that is kept compressed."""

import os

from . import contenders
from .contenders import FileSystem, Qcow2
from .lamina import Pool
from .machine import need, sh


class TieredPool(Pool):
    """Data ages only when it is asked to."""

    def __init__(self, folder, label, mib, kind):
        below = folder.path / f"{label}-below.img"
        with below.open("wb") as file:
            file.truncate(mib << 20)
        super().__init__(folder, label, mib, [
            f"  - {{name: below, kind: {kind}, path: {below}}}",
            "aging:", "  journal: {keep_free: 0%, idle: 1000h}"])
        self._below = below

    def blob(self, name):
        return next(b for b in self.status()["blobs"] if b["name"] == name)

    def stored_below(self):
        """What the file of the lower blob takes on its disk, as of any other image."""
        self.sync()
        return os.stat(self._below).st_blocks * 512

    def age(self):
        sh(self.program, "age", self.mount)

    def discard(self):
        super().discard()
        self._below.unlink(missing_ok=True)


class CompressedQcow2(Qcow2):
    """As `qemu-img convert -c` makes it of `source`, served by FUSE."""

    def __init__(self, folder, source, method):
        need("qemu-img", "qemu-storage-daemon")
        self.name = f"qcow2 {method}"
        self._base = self._image = folder.path / f"compressed-{method}.qcow2"
        self.file = folder.path / f"compressed-{method}-export"
        self.file.touch()
        self._process = None
        sh("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-o",
           f"compression_type={method}", source, self._image)
        folder.later(self._stop)
        self._start()

    def stored(self):
        return os.stat(self._image).st_blocks * 512

    def discard(self):
        self._stop()
        self._image.unlink(missing_ok=True)


class CompressedBtrfs(FileSystem):
    """A copy of `source` on btrfs with compress=zstd, at the level that lamina has by default."""

    def __init__(self, folder, plan, source):
        self.name = "btrfs zstd"
        self._image = folder.path / "btrfs-zstd.img"
        contenders.make_file(self._image, plan.pool)
        self._loop = contenders.attach(self._image)
        self._mount = folder.path / "btrfs-zstd"
        folder.later(self.discard)
        sh("mkfs.btrfs", "-q", "-f", self._loop)
        self._mount.mkdir(exist_ok=True)
        self._start()
        self.file = self._mount / "file"
        sh("cp", "--reflink=never", source, self.file)
        sh("sync", "-f", self._mount)

    def _start(self):
        sh("mount", "-o", "compress=zstd:3", self._loop, self._mount)

    def stored(self):
        """All that the file system takes, its metadata too."""
        status = os.statvfs(self._mount)
        return (status.f_blocks - status.f_bfree) * status.f_frsize

    def discard(self):
        self._stop()
        if self._loop:
            sh("losetup", "-d", self._loop)
            self._loop = None
        self._image.unlink(missing_ok=True)
