# SPDX-License-Identifier: Apache-2.0
"""Blocks that say what they are, and what became of them.

A block of payload names its **token**: the device that it was written to, the block there, and how
many writes there were before it in the whole history. So what is read can be told apart: it is what
belongs there, or lost (an error), vanished (zeroes instead), stale (what was there once),
resurrected (data where it was discarded or removed), or wrong (anything else).
"""

import os
import random
import struct
from collections import Counter
from dataclasses import dataclass, field

BLOCK = 4096
MAGIC = b"DMGBLOCK"
HEAD = struct.Struct("<8sIIQ")  # magic, device, version, block
ZERO = bytes(BLOCK)
CHUNK = 256


def block_of(token):
    """Half of it is noise, so that it compresses, and no two are alike."""
    device, block, version = token
    head = HEAD.pack(MAGIC, device, version, block)
    noise = random.Random(hash(token)).randbytes(BLOCK // 2)
    return (head + noise).ljust(BLOCK, b"\0")


def token_of(data):
    """None: it is no block of payload, or not whole."""
    if data[:8] != MAGIC:
        return None
    _, device, version, block = HEAD.unpack_from(data)
    token = (device, block, version)
    return token if data == block_of(token) else None


def tokens_in(path):
    """Offset -> token, of every block of payload that lies in a file as it is; and the offsets of
    all blocks that are neither that nor zero."""
    payload, rest = {}, []
    with open(path, "rb") as file:
        fd, size, at = file.fileno(), os.fstat(file.fileno()).st_size, 0
        while at < size:
            try:
                at = os.lseek(fd, at, os.SEEK_DATA) // BLOCK * BLOCK
            except OSError:
                break
            end = os.lseek(fd, at, os.SEEK_HOLE)
            while at < end:
                chunk = os.pread(fd, CHUNK * BLOCK, at)
                for place in range(0, len(chunk), BLOCK):
                    data = chunk[place:place + BLOCK]
                    if data[:8] == MAGIC:
                        _, device, version, block = HEAD.unpack_from(data)
                        payload[at + place] = (device, block, version)
                    elif data != ZERO:
                        rest.append(at + place)
                at += len(chunk)
    return payload, rest


@dataclass
class Outcome:
    """Of one reading of everything: the tokens that did not come back, with an error or with none,
    and how many blocks came back as something else."""
    lost: set = field(default_factory=set)
    counts: Counter = field(default_factory=Counter)  # vanished, stale, resurrected, wrong, unreadable
    notes: list = field(default_factory=list)         # the first of each kind, for the report

    def lost_bytes(self):
        return len(self.lost) * BLOCK

    def add(self, kind, where, many=1):
        if not self.counts[kind]:
            self.notes.append(f"{kind}: {where}")
        self.counts[kind] += many

    def all_right(self):
        return not self.lost and not self.counts


class Expected:
    """A device as it should be: a token, or None for a hole, for each block; and what was there
    once."""

    def __init__(self, blocks, past):
        self.blocks, self.past = blocks, past
        self.bytes = b"".join(block_of(t) if t else ZERO for t in blocks)

    def all_lost(self, name, outcome, why):
        outcome.notes.append(f"lost: {name}, all of it: {why}")
        outcome.lost.update(t for t in self.blocks if t)

    def compare(self, name, read, outcome):
        """`read(at, length)` raises OSError where it cannot."""
        for at in range(0, len(self.bytes), CHUNK * BLOCK):
            want = self.bytes[at:at + CHUNK * BLOCK]
            try:
                if read(at, len(want)) == want:
                    continue
            except OSError:
                pass
            for place in range(at, at + len(want), BLOCK):
                self._compare_block(name, place // BLOCK, read, outcome)

    def _compare_block(self, name, number, read, outcome):
        want = self.blocks[number]
        try:
            data = read(number * BLOCK, BLOCK)
        except OSError:
            if want:
                outcome.lost.add(want)
            else:
                outcome.add("unreadable", f"{name} block {number}, a hole")
            return
        if data == self.bytes[number * BLOCK:(number + 1) * BLOCK]:
            return
        if want:
            outcome.lost.add(want)
        if data == ZERO or not data:
            outcome.add("vanished", f"{name} block {number}: zeroes instead of {want}")
            return
        token = token_of(data)
        if token and token in self.past.get(number, ()):
            outcome.add("stale" if want else "resurrected",
                        f"{name} block {number}: {token} instead of {want}")
        elif token and not want:
            outcome.add("resurrected", f"{name} block {number}: {token} where nothing is")
        else:
            outcome.add("wrong", f"{name} block {number}: {token or data[:16]} instead of {want}")
