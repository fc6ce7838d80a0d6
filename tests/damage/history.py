# SPDX-License-Identifier: Apache-2.0
"""What is done before anything is damaged, to lamina and to its peers alike.

A family of devices: written in order and at random, by single blocks that are flushed each,
discarded, snapshot, cloned, copied from, removed; old data, which lamina lets age, and new data,
the last of which no checkpoint has seen.
"""

import ctypes
import os
import random

from .payload import BLOCK, Expected, block_of

LIBC = ctypes.CDLL(None, use_errno=True)
PUNCH_HOLE, KEEP_SIZE = 2, 1


class World:
    """Does to the devices of `place` what it is told, and keeps what they then should be. `place`
    has `path(name)`, and `snapshot(name, new)`, which makes `new` a device of the same content."""

    def __init__(self, place, seed):
        self.place = place
        self.rng = random.Random(seed)
        self.devices = {}  # name -> [token or None]
        self.removed = set()
        self._past = {}    # name -> {block: {tokens}}
        self._ids = {}
        self._writes = 0

    def expected(self):
        return {name: Expected(blocks, self._past[name]) for name, blocks in self.devices.items()}

    def create(self, name, blocks):
        with open(self.place.path(name), "wb") as file:
            file.truncate(blocks * BLOCK)
        self._new(name, [None] * blocks, {})

    def _new(self, name, blocks, past):
        self._ids[name] = len(self._ids) + 1
        self.devices[name], self._past[name] = blocks, past

    def write(self, name, begin, blocks, flags=0):
        tokens = []
        for block in range(begin, begin + blocks):
            self._writes += 1
            token = (self._ids[name], block, self._writes)
            self._set(name, block, token)
            tokens.append(token)
        fd = os.open(self.place.path(name), os.O_WRONLY | flags)
        try:
            os.pwrite(fd, b"".join(map(block_of, tokens)), begin * BLOCK)
        finally:
            os.close(fd)

    def write_at_random(self, name, times, flags=0):
        for _ in range(times):
            self.write(name, self.rng.randrange(len(self.devices[name])), 1, flags)

    def discard(self, name, begin, blocks):
        blocks = min(blocks, len(self.devices[name]) - begin)
        fd = os.open(self.place.path(name), os.O_WRONLY)
        try:
            if LIBC.fallocate(fd, PUNCH_HOLE | KEEP_SIZE, ctypes.c_long(begin * BLOCK),
                              ctypes.c_long(blocks * BLOCK)):
                raise OSError(ctypes.get_errno(), f"punching a hole into {name}")
        finally:
            os.close(fd)
        for block in range(begin, begin + blocks):
            self._set(name, block, None)

    def discard_at_random(self, name, times, longest):
        for _ in range(times):
            self.discard(name, self.rng.randrange(len(self.devices[name])),
                         self.rng.randint(1, longest))

    def snapshot(self, name, new):
        self.place.snapshot(name, new)
        self._new(new, list(self.devices[name]), {b: set(t) for b, t in self._past[name].items()})

    def copy(self, name, begin, to, at, blocks):
        """A range, as copy_file_range does it."""
        source = os.open(self.place.path(name), os.O_RDONLY)
        target = os.open(self.place.path(to), os.O_WRONLY)
        try:
            done = 0
            while done < blocks * BLOCK:
                done += os.copy_file_range(source, target, blocks * BLOCK - done,
                                           begin * BLOCK + done, at * BLOCK + done)
        finally:
            os.close(source)
            os.close(target)
        for i in range(blocks):
            self._set(to, at + i, self.devices[name][begin + i])

    def remove(self, name):
        os.unlink(self.place.path(name))
        del self.devices[name], self._past[name]
        self.removed.add(name)

    def _set(self, name, block, token):
        before = self.devices[name][block]
        if before:
            self._past[name].setdefault(block, set()).add(before)
        self.devices[name][block] = token


def old(world):
    """What has time to age."""
    world.create("vm1", 5120)
    world.write("vm1", 0, 3072)
    world.write_at_random("vm1", 800)
    world.create("archive", 2048)
    world.write("archive", 0, 2048)
    world.create("pinned", 2048)
    world.write("pinned", 0, 2048)
    world.create("gone", 1024)
    world.write("gone", 0, 1024)
    world.snapshot("vm1", "vm1@1")


def newer(world):
    """What goes over the old."""
    world.write_at_random("vm1", 1200)
    world.discard_at_random("vm1", 12, 200)
    world.discard_at_random("archive", 8, 200)
    world.discard_at_random("pinned", 8, 100)
    world.snapshot("vm1", "vm1@2")
    world.snapshot("vm1", "vm2")
    world.write_at_random("vm2", 500)
    world.create("copies", 1024)
    world.copy("vm1", 100, "copies", 300, 256)
    world.copy("archive", 64, "copies", 700, 128)
    world.remove("gone")
    world.create("db", 3072)
    world.write_at_random("db", 2000, os.O_DSYNC)


def last(world):
    """What no checkpoint has seen, all of it flushed."""
    world.discard_at_random("db", 6, 100)
    world.snapshot("db", "db@1")
    world.write_at_random("db", 400, os.O_DSYNC)
    world.write_at_random("vm1", 60, os.O_DSYNC)
    world.discard_at_random("vm2", 4, 64)
    world.write("db", 17, 1, os.O_DSYNC)
