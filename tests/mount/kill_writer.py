# SPDX-License-Identifier: Apache-2.0
"""Writes stamped blocks until the daemon is gone, and later says whether what is found may be.

  kill_writer.py write FILE STATE MODE BLOCKS   MODE: fsync, dsync, rwf_dsync or unsynced
  kill_writer.py check FILE STATE               exit code 1 and the finding if a promise was broken

Every write has a number, and every block it writes is stamped with block and number. STATE holds
the order of writes and how many of them were acknowledged as durable. Checked are promise 1
(everything durable is found) and promise 2 (what is found is a prefix of the order of writes).
STATE.begun appears when the writing begins. The mode `unsynced` stops by itself; there everything
counts as durable, as the caller waits for longer than flush_after before it kills.
"""

import errno
import json
import mmap
import os
import random
import struct
import sys
import time

BLOCK = 4096
UNSYNCED_SECONDS = 0.5


def stamped(block, number):
    head = struct.pack("<QQ", block, number)
    return (head * (BLOCK // len(head)))


class Writer:
    def __init__(self, path, mode, blocks):
        flags = os.O_RDWR | os.O_DIRECT | (os.O_DSYNC if mode == "dsync" else 0)
        self.file = os.open(path, flags)
        self.mode, self.blocks = mode, blocks
        self.order = []   # (first block, count) of write number i + 1
        self.durable = 0  # so many of them
        self.buffer = mmap.mmap(-1, 16 * BLOCK)
        self.random = random.Random(os.getpid())

    def write_one(self):
        count = self.random.choice([1] * 12 + [2, 7, 16])
        first = self.random.randrange(self.blocks - count)
        self.order.append((first, count))
        number = len(self.order)
        self.buffer.seek(0)
        self.buffer.write(b"".join(stamped(first + i, number) for i in range(count)))
        view = memoryview(self.buffer)[:count * BLOCK]
        flags = os.RWF_DSYNC if self.mode == "rwf_dsync" else 0
        done = os.pwritev(self.file, [view], first * BLOCK, flags)
        if done != count * BLOCK:
            sys.exit(f"a short write of {done} bytes")
        return number

    def run(self):
        end = time.monotonic() + (UNSYNCED_SECONDS if self.mode == "unsynced" else 60)
        while time.monotonic() < end:
            number = self.write_one()
            if self.mode in ("dsync", "rwf_dsync"):
                self.durable = number
            elif self.mode == "fsync" and self.random.randrange(8) == 0:
                (os.fsync if self.random.randrange(2) else os.fdatasync)(self.file)
                self.durable = number
        self.durable = len(self.order)


def write(path, state, mode, blocks):
    writer = Writer(path, mode, int(blocks))
    open(state + ".begun", "w").close()
    try:
        writer.run()
    except OSError as error:
        if error.errno not in (errno.EIO, errno.ENOTCONN, errno.ECONNABORTED):
            raise
    with open(state, "w") as out:
        json.dump({"order": writer.order, "durable": writer.durable}, out)
    print(f"{mode}: {len(writer.order)} writes, {writer.durable} durable")


def check(path, state):
    with open(state) as text:
        known = json.load(text)
    order, durable = known["order"], known["durable"]
    writes_of = {}  # block -> its write numbers, ascending
    for index, (first, count) in enumerate(order):
        for block in range(first, first + count):
            writes_of.setdefault(block, []).append(index + 1)
    found = {}
    with open(path, "rb", buffering=1 << 20) as file:
        for block in range(max(writes_of, default=-1) + 1):
            data = file.read(BLOCK)
            if block not in writes_of:
                continue
            stamp_block, number = struct.unpack_from("<QQ", data)
            if data == bytes(BLOCK):
                number = 0
            elif data != stamped(stamp_block, number) or stamp_block != block:
                sys.exit(f"block {block} holds what was never written there: {data[:32].hex()}")
            found[block] = number
    last = max(found.values(), default=0)
    # The newest durable write can only be hidden by a newer one, which would then be `last`.
    if last < durable:
        sys.exit(f"{durable} writes were durable, the newest found is {last}")
    # A write of several blocks that nobody waited for may have been cut short; the atom is a block.
    torn = range(0)
    if last > durable:
        first, count = order[last - 1]
        torn = range(first, first + count)
    for block, number in found.items():
        expected = max((n for n in writes_of[block] if n <= last), default=0)
        if number != expected and block not in torn:
            sys.exit(f"block {block} has write {number}, not {expected}; the newest anywhere is "
                     f"{last}, durable were {durable}: not a prefix")
    print(f"found the first {last} of {len(order)} writes ({durable} were durable)")


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]](*sys.argv[2:])
