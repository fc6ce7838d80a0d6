# SPDX-License-Identifier: Apache-2.0
"""Commands, mounts and loop devices, and taking all of them away whatever happens."""

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path


class Missing(Exception):
    """Something that this machine cannot run; the message says what and why."""


def sh(*command, check=True, timeout=3600):
    """Runs a command and returns its output; a failure says what was run and what it said."""
    result = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, timeout=timeout)
    if check and result.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: code {result.returncode}\n"
                           f"{result.stdout[-2000:]}")
    return result.stdout


def need(*commands):
    for command in commands:
        if not shutil.which(command):
            raise Missing(f"{command} is not installed")


def drop_caches():
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n")


def wait_for(what, condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"waited {seconds} s for {what}")
        time.sleep(0.02)


def attach(path):
    """A loop device with direct I/O over a file."""
    loop = sh("losetup", "--find", "--show", "--direct-io=on", path).strip()
    direct = Path(f"/sys/block/{Path(loop).name}/loop/dio").read_text().strip()
    if direct != "1":
        sh("losetup", "-d", loop)
        raise Missing(f"no direct I/O for a loop device over {path}")
    return loop


class Folder:
    """The folder of one run. Leaving it undoes what was registered with `later`, last first."""

    def __init__(self, parent):
        self.path = Path(tempfile.mkdtemp(prefix="lamina-bench.", dir=parent))
        self._stack = ExitStack()
        self._stack.callback(shutil.rmtree, self.path, ignore_errors=True)

    def later(self, function, *arguments):
        self._stack.callback(function, *arguments)

    def free_mib(self):
        return shutil.disk_usage(self.path).free >> 20

    def close(self):
        self._stack.close()
