# SPDX-License-Identifier: Apache-2.0
"""An ext4 image with what a system has in /usr: programs, libraries, text."""

import os
import subprocess

from .machine import attach, sh

FILLED = 0.8  # of the image


def _files(limit):
    """All files of /usr, or, where they are more than that, every n-th, by name."""
    found = []
    for folder, folders, names in os.walk("/usr"):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                found.append((path, os.stat(path).st_blocks * 512))
    total = sum(size for _, size in found)
    every = -(-total // limit)
    return [path for path, size in found[::every] if size < limit // 16], every


def make(folder, mib):
    """The image's path, and what is in it in words. It is the same image every time."""
    image = folder.path / "usr.raw"
    sh("truncate", "-s", mib << 20, image)
    sh("mkfs.ext4", "-q", "-F", "-U", "c0ffee00-0000-4000-8000-000000000001", image)
    loop = attach(image)
    mount = folder.path / "usr-mnt"
    mount.mkdir()
    try:
        sh("mount", loop, mount)
        try:
            files, every = _files(int(mib * FILLED) << 20)
            subprocess.run(["tar", "--null", "-T", "-", "-cf", folder.path / "usr.tar", "-P"],
                           input="\0".join(files).encode(), check=True)
            sh("tar", "-C", mount, "-xf", folder.path / "usr.tar")
            filled = os.statvfs(mount)
        finally:
            sh("umount", mount)
    finally:
        sh("losetup", "-d", loop)
        (folder.path / "usr.tar").unlink(missing_ok=True)
    mount.rmdir()
    used = (filled.f_blocks - filled.f_bfree) * filled.f_frsize >> 20
    which = "" if every == 1 else f", each {every}th"
    return image, f"{len(files)} files of /usr{which}, {used} MiB, in an ext4 of {mib} MiB"
