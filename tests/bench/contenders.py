# SPDX-License-Identifier: Apache-2.0
"""The peers: each gives a file of `data` MiB, filled, and can make itself cold.

Those that have snapshots take one by `snapshot`, from which on `file` is written past it, and
`drop_snapshot` takes it away again. A contender is made once a run, when the first row wants it, and
stays until the end.
"""

import os
import subprocess
import time
from pathlib import Path

from . import fio
from .machine import Missing, attach, drop_caches, need, sh, wait_for


def make_file(path, mib):
    """A file whose blocks are all written, so that nobody pays for unwritten extents later."""
    with open(path, "wb"):
        pass
    os.truncate(path, mib << 20)
    sh("fallocate", "-l", mib << 20, path)
    fio.run(path, rw="write", bs="1m", depth=8, size=mib, end_fsync=True)


class Raw:
    """The file of the disk's own file system, with O_DIRECT."""
    name = "raw"

    def __init__(self, folder, plan):
        self.file = folder.path / "raw.img"
        sh("fallocate", "-l", plan.data << 20, self.file)
        fio.fill(self.file, plan.data)

    def cold(self):
        drop_caches()


class Qcow2:
    """A qcow2 served as a file by qemu-storage-daemon's FUSE export."""
    name = "qcow2"

    def __init__(self, folder, plan):
        need("qemu-img", "qemu-storage-daemon")
        self._base = self._image = folder.path / "disk.qcow2"
        self.file = folder.path / "qcow2-export"
        self.file.touch()
        self._process = None
        sh("qemu-img", "create", "-q", "-f", "qcow2", self._image, f"{plan.data}M")
        folder.later(self._stop)
        self._start()
        fio.fill(self.file, plan.data)

    def _start(self):
        self._process = subprocess.Popen(
            ["qemu-storage-daemon",
             "--blockdev", f"driver=file,node-name=file,filename={self._image},cache.direct=on,"
                           "aio=io_uring",
             "--blockdev", "driver=qcow2,node-name=disk,file=file,discard=unmap",
             "--export", f"type=fuse,id=export,node-name=disk,mountpoint={self.file},writable=on"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while not os.path.ismount(self.file):
            if self._process.poll() is not None:
                raise Missing("qemu-storage-daemon cannot export by FUSE here: "
                              + self._process.stderr.read().strip())
            time.sleep(0.02)

    def _stop(self):
        if self._process:
            self._process.terminate()
            self._process.wait()
            self._process = None
        if os.path.ismount(self.file):
            sh("umount", "-l", self.file)

    def cold(self):
        self._stop()
        drop_caches()
        self._start()

    def snapshot(self):
        """An overlay over the image, which is served in its place."""
        self._stop()
        self._image = self._base.with_suffix(".overlay")
        sh("qemu-img", "create", "-q", "-f", "qcow2", "-b", self._base, "-F", "qcow2", self._image)
        self._start()

    def drop_snapshot(self):
        """The overlay with what was written goes; the image is as it was."""
        self._stop()
        self._image.unlink()
        self._image = self._base
        self._start()


class FileSystem:
    """A file on a file system on a loop device with direct I/O over a file of the same disk."""

    def __init__(self, name, mkfs, folder, plan):
        self.name = name
        need(mkfs[0])
        image = folder.path / f"{name}.img"
        make_file(image, plan.pool)  # as much room to write past what is there as lamina has
        self._loop = attach(image)
        folder.later(sh, "losetup", "-d", self._loop)
        sh(*mkfs, self._loop)
        self._mount = folder.path / name
        self._mount.mkdir()
        if name not in Path("/proc/filesystems").read_text().split():
            sh("modprobe", name, check=False)
        folder.later(self._stop)
        self._start()
        self.file = self._mount / "file"
        self.file.touch()
        fio.fill(self.file, plan.data)

    def _start(self):
        try:
            sh("mount", self._loop, self._mount)
        except RuntimeError as error:
            raise Missing(f"this kernel does not mount {self.name}") from error

    def _stop(self):
        if os.path.ismount(self._mount):
            wait_for(f"unmounting {self._mount}",
                     lambda: not sh("umount", self._mount, check=False).strip())

    def cold(self):
        self._stop()
        drop_caches()
        self._start()

    def snapshot(self):
        """A reflink copy."""
        sh("cp", "--reflink=always", self.file, self._mount / "snapshot")
        sh("sync", "-f", self._mount)

    def drop_snapshot(self):
        (self._mount / "snapshot").unlink()
        sh("sync", "-f", self._mount)


def xfs(folder, plan):
    return FileSystem("xfs", ["mkfs.xfs", "-q", "-f"], folder, plan)


def btrfs(folder, plan):
    return FileSystem("btrfs", ["mkfs.btrfs", "-q", "-f"], folder, plan)


PEERS = {"raw": Raw, "qcow2": Qcow2, "xfs": xfs, "btrfs": btrfs}
