# SPDX-License-Identifier: Apache-2.0
"""Disks that are slower than they are, so that they are the limit: by the kernel, for a daemon in a
cgroup of its own, by version 1 or 2 of its interface; or by the daemon itself, where there is
neither."""

import os
import time
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


class Throttle:
    """Of these block devices, so many bytes a second are read, and as many written."""

    def __init__(self, folder, devices, bytes_a_second):
        self._limits = {f"{os.major(n)}:{os.minor(n)}": bytes_a_second
                        for n in (os.stat(device).st_rdev for device in devices)}
        self._rate = bytes_a_second
        self._group = None
        self.how = "inside the daemon: no cgroup throttles here"
        for parent, how, limit in ((CGROUP / "blkio", "by blkio of cgroup v1", self._by_v1),
                                   (CGROUP, "by io.max of cgroup v2", self._by_v2)):
            if not (parent / "cgroup.procs").exists():  # nothing is mounted there
                continue
            group = parent / f"lamina-bench-{os.getpid()}-{len(devices)}"
            try:
                group.mkdir()
                folder.later(self._remove, group)
                limit(parent, group)
                self._group, self.how = group, how
                break
            except OSError:
                self._remove(group)

    def _by_v1(self, _, group):
        for device, rate in self._limits.items():
            for what in ("read", "write"):
                (group / f"blkio.throttle.{what}_bps_device").write_text(f"{device} {rate}\n")

    def _by_v2(self, parent, group):
        (parent / "cgroup.subtree_control").write_text("+io\n")
        for device, rate in self._limits.items():
            (group / "io.max").write_text(f"{device} rbps={rate} wbps={rate}\n")

    def options(self):
        """Of `lamina mount`."""
        return [] if self._group else ["-o", f"throttle={self._rate}"]

    def hold(self, pid):
        """All of that process, from now on."""
        if self._group:
            (self._group / "cgroup.procs").write_text(f"{pid}\n")

    @staticmethod
    def _remove(group):
        for _ in range(50):  # until the last process has gone
            try:
                group.rmdir()
                return
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.1)
