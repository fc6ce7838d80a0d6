# SPDX-License-Identifier: Apache-2.0
"""ext4, XFS and btrfs: the same history in files, each with its own checker and repair.

An image on a loop device, unmounted before the damage. Afterwards it is repaired as its manual
says, mounted read-only, and read; what a repair put under lost+found counts as found. None of them
is asked to serve without a repair but btrfs, which has two copies of its metadata.
"""

import os
import re
import struct
import subprocess
import time
from pathlib import Path

from bench.machine import Missing, need, sh

from . import history
from .damages import Target, apply
from .lamina import copy_images
from .payload import BLOCK, Outcome
from .trial import Trial

MIB = 320  # XFS takes no less than 300


class Folder:
    """A place of a history: files, and snapshots by the means that there are."""

    def __init__(self, folder, reflink):
        self.folder, self.reflink = folder, reflink

    def path(self, name):
        return self.folder / name

    def snapshot(self, name, new):
        sh("cp", f"--reflink={self.reflink}", "--sparse=auto" if self.reflink == "always" else
           "--sparse=always", self.path(name), self.path(new))


def run(*command, seconds=120):
    """Its exit code; what it says is of no use to a table."""
    try:
        return subprocess.run([str(word) for word in command], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                              timeout=seconds).returncode
    except subprocess.TimeoutExpired:
        return 124


class FileSystem:
    """`check` and `repair` take the image; `options`: of the mounts that are tried, in this order.
    """
    reflink = "always"
    mounts_first = False
    options = ["ro"]
    mount_point = None

    def __init__(self, folder):
        need(self.mkfs[0])
        self.image = folder / f"{self.name}.img"
        self.mount_point = folder / "mnt"
        self.mount_point.mkdir()
        with self.image.open("wb") as file:
            file.truncate(MIB << 20)
        sh(*self.mkfs, self.image)
        if run("mount", "-o", "loop", self.image, self.mount_point):
            raise Missing(f"this kernel does not mount {self.name}")
        try:
            world = history.World(Folder(self.mount_point, self.reflink), 1)
            history.old(world)
            sh("sync", "-f", self.mount_point)
            history.newer(world)
            history.last(world)
        finally:
            sh("umount", self.mount_point)
        self.expected = world.expected()
        self.target = Target.of_image(self.image)
        in_use = self.in_use(self.image)
        self.target.metadata = [place for place in self.target.metadata if in_use(place[1])]
        self.trial_folder = folder / "trial"

    def describe(self):
        return (f"{len(self.expected)} files, {len(self.target.metadata)} blocks of metadata that are in "
                "use; what an empty journal holds is not")

    def try_damage(self, kind, seed, keep=None):
        hits = kind.hits(self.target, seed)
        image, = copy_images([self.image], self.trial_folder)
        trial = Trial(kind.name, seed, damaged=apply(hits, [image]))
        if keep:
            copy_images([image], Path(keep))
        tokens, _ = self.target.destroyed(hits)
        trial.destroyed = len(tokens) * BLOCK
        begin = time.monotonic()
        trial.verdict = "clean" if self.check(image) == 0 else "damaged"
        outcome = self._mount_and_read(image, trial)
        trial.judge(outcome, accepted=False)
        trial.beyond = len(outcome.lost - tokens) * BLOCK
        # Of what a checker of metadata cannot see it says nothing.
        trial.false_clean = int(trial.verdict == "clean" and trial.beyond > 0)
        trial.seconds = time.monotonic() - begin
        return trial

    def _mount_and_read(self, image, trial):
        trial.mounted = self.mounts_first and self._mount(image)
        if not trial.mounted:
            trial.repair = "repair"
            self.repair(image)
            if not self._mount(image):
                trial.repair = "failed"
        outcome = Outcome()
        try:
            self._read(outcome)
        finally:
            # Whatever it says of itself: the root of a broken one cannot even be looked at.
            while run("umount", self.mount_point) == 0:
                pass
        return outcome

    def _mount(self, image):
        return any(run("mount", "-o", f"loop,{options}", image, self.mount_point) == 0
                   for options in self.options)

    def _read(self, outcome):
        # What a directory says may itself be an error.
        try:
            names = set(os.listdir(self.mount_point))
        except OSError:
            names = set()
        for name in names - set(self.expected) - {"lost+found"}:
            outcome.add("resurrected", f"the file {name}")
        for name, device in self.expected.items():
            path = self.mount_point / name if name in names else self._in_lost_and_found(device)
            if path is None:
                device.all_lost(name, outcome, "it is not there")
                continue
            try:
                fd = os.open(path, os.O_RDONLY)
            except OSError as error:
                device.all_lost(name, outcome, str(error))
                continue
            device.compare(name, lambda at, length: os.pread(fd, length, at), outcome)
            os.close(fd)

    def _in_lost_and_found(self, device):
        """The file there that has most of the device's blocks where they belong."""
        best, most = None, 0
        folder = self.mount_point / "lost+found"
        try:
            files = [file for file in folder.iterdir() if file.is_file()]
        except OSError:
            return None
        for file in files:
            try:
                data = file.read_bytes()
            except OSError:
                continue
            same = sum(1 for at in range(0, len(data), 16 * BLOCK)
                       if device.blocks[at // BLOCK:at // BLOCK + 1] != [None]
                       and data[at:at + BLOCK] == device.bytes[at:at + BLOCK])
            if same > most:
                best, most = file, same
        return best


class Ext4(FileSystem):
    name, reflink = "ext4", "never"  # it has no reflink: whole copies
    mkfs = ["mkfs.ext4", "-q", "-F", "-b", BLOCK]

    @staticmethod
    def in_use(image):
        said = subprocess.run(["debugfs", "-R", "blocks <8>", image], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True).stdout
        journal = {int(block) * BLOCK for block in said.split()}
        return lambda at: at not in journal

    def check(self, image):
        return run("e2fsck", "-fn", image)

    def repair(self, image):
        run("e2fsck", "-fy", image)


class Xfs(FileSystem):
    name, mkfs = "xfs", ["mkfs.xfs", "-q", "-f"]

    @staticmethod
    def in_use(image):
        with open(image, "rb") as file:
            superblock = file.read(512)
        (start,) = struct.unpack_from(">Q", superblock, 48)
        blocks_of_group, = struct.unpack_from(">I", superblock, 84)
        (blocks,) = struct.unpack_from(">I", superblock, 96)
        bits = superblock[124]  # of a block's number in its group
        begin = ((start >> bits) * blocks_of_group + (start & ((1 << bits) - 1))) * BLOCK
        return lambda at: not begin <= at < begin + blocks * BLOCK

    def check(self, image):
        return run("xfs_repair", "-n", "-f", image)

    def repair(self, image):
        run("xfs_repair", "-L", "-f", image)


class Btrfs(FileSystem):
    name, mkfs, mounts_first = "btrfs", ["mkfs.btrfs", "-q", "-f"], True
    options = ["ro", "ro,rescue=all"]

    @staticmethod
    def in_use(image):
        """Tree blocks that the newest trees name, by the chunks that say where they lie;
        superblocks."""
        said = sh("btrfs", "inspect-internal", "dump-tree", image)
        chunks = re.findall(r"CHUNK_ITEM (\d+)\).*?length (\d+) owner(.*?)(?=\n\titem|\Z)", said, re.S)
        stripes = [(int(begin), int(length), [int(at) for at in re.findall(r"offset (\d+)", rest)])
                   for begin, length, rest in chunks]
        node = 16 << 10
        live = {64 << 10, 64 << 20}
        for logical in {int(at) for at in re.findall(r"^(?:leaf|node) (\d+) ", said, re.M)}:
            for begin, length, places in stripes:
                if begin <= logical < begin + length:
                    live.update(place + logical - begin + at for place in places
                                for at in range(0, node, BLOCK))
        return live.__contains__

    def check(self, image):
        return run("btrfs", "check", "--readonly", image)

    def repair(self, image):
        run("btrfs", "rescue", "super-recover", "-y", image)
        run("btrfs", "check", "--repair", "--force", image)
