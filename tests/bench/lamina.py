# SPDX-License-Identifier: Apache-2.0
"""lamina as a contender: a pool in a file, as `lamina format FILE --size` makes it, and mounted."""

import json
import os
import signal
import time
from pathlib import Path

from . import fio
from .machine import Missing, drop_caches, sh, wait_for

TOP = Path(__file__).resolve().parents[2]


def program():
    path = Path(os.environ.get("LAMINA", TOP / "build/release/src/lamina"))
    if not path.exists():
        raise Missing(f"{path} is not built")
    return path


class Pool:
    """One pool and its mount. `settings` are lines of a pool file; without any there is none.
    `daemon`: the program that serves it, where that is another."""

    def __init__(self, folder, label, mib, settings=None, daemon=None):
        self.program = program()
        self.daemon = daemon or self.program
        self.folder = folder
        self.options = []  # of the next start()
        self._label = label
        self.image = folder.path / f"{label}.img"
        self.mount = folder.path / f"{label}-mnt"
        self.mount.mkdir(exist_ok=True)  # of one before it, which was discarded
        self.use(settings)
        if settings:  # of which some are for format
            with self.image.open("wb") as file:
                file.truncate(mib << 20)
            sh(self.program, "format", self._config)
        else:
            sh(self.program, "format", self.image, "--size", f"{mib}M")
        folder.later(self.end)
        self.start()

    def use(self, settings):
        """Takes effect at the next start()."""
        if not settings:
            self._config = self.image
            return
        self._config = self.image.with_suffix(".yaml")
        self._config.write_text(
            f"pool: {self._label}\nblobs:\n"
            f"  - {{name: journal, kind: journal, path: {self.image}, tier: 0}}\n"
            + "\n".join(settings) + "\n")

    def start(self):
        """Returns the seconds until the mount answered."""
        begin = time.monotonic()
        sh(self.daemon, "mount", self._config, self.mount, *self.options)
        (self.mount / ".lamina/version").read_text()
        return time.monotonic() - begin

    def stop(self):
        sh(self.program, "umount", self.mount)

    def end(self):
        if os.path.ismount(self.mount):
            sh(self.program, "umount", self.mount, check=False)
        if os.path.ismount(self.mount):
            sh("umount", "-l", self.mount, check=False)
        self.image.unlink(missing_ok=True)

    def discard(self):
        """Ends it before the run does, for the room it takes."""
        self.end()

    def cold(self):
        self.stop()
        drop_caches()
        self.start()

    def kill(self):
        pid = self.pid()
        os.kill(pid, signal.SIGKILL)
        wait_for("the daemon's end", lambda: not Path(f"/proc/{pid}").exists())
        sh("umount", "-l", self.mount)

    def create(self, name, mib):
        sh(self.program, "create", self.mount / name, f"{mib}M")
        return self.mount / name

    def snapshot_of(self, name, snapshot):
        os.setxattr(self.mount / name, "user.lamina.snapshot", os.fsencode(snapshot))

    def sync(self):
        sh(self.program, "sync", self.mount)

    def checkpoint(self):
        os.setxattr(self.mount, "user.lamina.checkpoint", b"1")

    def status(self):
        return json.loads((self.mount / ".lamina/status.json").read_text())

    def pid(self):
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if (os.fsencode(self.mount) in words
                        and os.path.samefile(entry / "exe", self.daemon)):
                    return int(entry.name)
            except OSError:
                continue
        raise RuntimeError(f"no process serves {self.mount}")

    def rss_mib(self):
        """The most it ever held, by the kernel's count."""
        for line in Path(f"/proc/{self.pid()}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("no VmHWM")

    def medium_bytes(self):
        """Bytes that the daemon has read from and written to disks."""
        lines = Path(f"/proc/{self.pid()}/io").read_text().splitlines()
        values = dict(line.split(": ") for line in lines)
        return int(values["read_bytes"]) + int(values["write_bytes"])


class Lamina(Pool):
    name = "lamina"

    def __init__(self, folder, plan, settings=None):
        super().__init__(folder, "lamina", plan.pool, settings)
        self.file = self.create("disk", plan.data)
        fio.fill(self.file, plan.data)

    def snapshot(self):
        self.snapshot_of("disk", "snapshot")

    def drop_snapshot(self):
        (self.mount / "snapshot").unlink()
        self.checkpoint()
