#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random operations on a file of the mount and on bytes in memory, which must agree, in the manner
of fsx: reads, writes, truncates, punches, zeroes, preallocations, mmaps, seeks, copies, reopenings,
of any alignment.

Usage: model_operations.py FILE --seed N --count N [--no-mmap]
The file must not exist. A failure prints the last operations; the seed reproduces them.
"""

import argparse
import collections
import ctypes
import errno
import mmap
import os
import random
import sys

BLOCK = 4096
MAX_SIZE = 4 << 20
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def fallocate(fd, mode, offset, length):
    if libc.fallocate(fd, mode, offset, length) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"fallocate mode {mode}: {os.strerror(code)}")


class Model:
    def __init__(self, path, seed, with_mmap):
        self.path, self.with_mmap = path, with_mmap
        self.random = random.Random(seed)
        self.bytes = bytearray()
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self.done = collections.deque(maxlen=40)
        self.buffer = mmap.mmap(-1, 1 << 20)  # page aligned, for O_DIRECT

    # --- choices

    def place(self, limit=MAX_SIZE):
        """An offset: often near the end of the file or at an edge of a block."""
        kind = self.random.randrange(4)
        if kind == 0:
            at = self.random.randrange(limit)
        elif kind == 1:
            at = self.random.randrange(limit // BLOCK) * BLOCK
        elif kind == 2:
            at = self.random.randrange(1, limit // BLOCK) * BLOCK + self.random.choice((-1, 1, 511, 512))
        else:
            at = len(self.bytes) + self.random.choice((-BLOCK - 1, -BLOCK, -1, 0, 1, BLOCK))
        return min(max(at, 0), limit - 1)

    def length(self):
        kind = self.random.randrange(4)
        if kind == 0:
            return self.random.randrange(1, 3 * BLOCK)
        if kind == 1:
            return self.random.choice((1, 512, BLOCK, 2 * BLOCK, 128 << 10))
        if kind == 2:
            return self.random.randrange(1, 256 << 10)
        return self.random.randrange(1, 16) * BLOCK

    def data(self, length):
        kind = self.random.randrange(5)
        if kind == 0:
            return bytes(length)
        if kind == 1:  # with blocks of zeroes in it
            data = bytearray(self.random.randbytes(length))
            at = self.random.randrange(length)
            data[at:at + 2 * BLOCK] = bytes(len(data[at:at + 2 * BLOCK]))
            return bytes(data)
        return self.random.randbytes(length)

    # --- what the bytes must be

    def grow(self, size):
        if size > len(self.bytes):
            self.bytes.extend(bytes(size - len(self.bytes)))

    def put(self, at, data):
        self.grow(at + len(data))
        self.bytes[at:at + len(data)] = data

    def clear(self, begin, end):
        end = min(end, len(self.bytes))
        if begin < end:
            self.bytes[begin:end] = bytes(end - begin)

    # --- operations

    def write(self):
        at, data = self.place(), self.data(self.length())
        assert os.pwrite(self.fd, data, at) == len(data)
        self.put(at, data)
        return at, len(data)

    def write_durable(self):
        at, data = self.place(), self.data(self.length())
        fd = os.open(self.path, os.O_WRONLY | self.random.choice((os.O_DSYNC, os.O_SYNC)))
        assert os.pwrite(fd, data, at) == len(data)
        os.close(fd)
        self.put(at, data)
        return at, len(data)

    def write_direct(self):
        at, length = self.place() // 512 * 512, min(-(-self.length() // 512) * 512, len(self.buffer))
        data = self.data(length)
        self.buffer[:length] = data
        fd = os.open(self.path, os.O_WRONLY | os.O_DIRECT)
        assert os.pwritev(fd, [memoryview(self.buffer)[:length]], at) == length
        os.close(fd)
        self.put(at, data)
        return at, length

    def append(self):
        data = self.data(self.length())
        if len(self.bytes) + len(data) > MAX_SIZE:
            return None
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        assert os.write(fd, data) == len(data)
        os.close(fd)
        self.put(len(self.bytes), data)
        return len(data)

    def read(self):
        at, length = self.place(), self.length()
        self.same(os.pread(self.fd, length, at), self.bytes[at:at + length], at)
        return at, length

    def read_direct(self):
        at, length = self.place() // 512 * 512, min(-(-self.length() // 512) * 512, len(self.buffer))
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECT)
        got = os.preadv(fd, [memoryview(self.buffer)[:length]], at)
        os.close(fd)
        self.same(self.buffer[:got], self.bytes[at:at + length], at)
        return at, length

    def truncate(self):
        size = self.place()
        os.ftruncate(self.fd, size)
        if size < len(self.bytes):
            del self.bytes[size:]
        self.grow(size)
        return size

    def punch(self):
        at, length = self.place(), self.length()
        fallocate(self.fd, PUNCH_HOLE | KEEP_SIZE, at, length)
        self.clear(at, at + length)
        return at, length

    def zero(self):
        at, length, keep = self.place(), self.length(), self.random.choice((0, KEEP_SIZE))
        fallocate(self.fd, ZERO_RANGE | keep, at, length)
        self.clear(at, at + length)
        if not keep:
            self.grow(at + length)
        return at, length, keep

    def preallocate(self):
        at, length, keep = self.place(), self.length(), self.random.choice((0, KEEP_SIZE))
        fallocate(self.fd, keep, at, length)
        if not keep:
            self.grow(at + length)
        return at, length, keep

    def map(self):
        """Reads and writes through a shared mapping, with plain reads and writes in between."""
        if not self.bytes or not self.with_mmap:
            return None
        at = self.random.randrange(len(self.bytes))
        first = at // BLOCK * BLOCK
        length = min(self.length(), len(self.bytes) - at)
        try:
            area = mmap.mmap(self.fd, at + length - first, offset=first)
        except OSError as error:
            if error.errno == errno.ENODEV:  # a kernel before 6.6
                self.with_mmap = False
                return None
            raise
        self.same(area[at - first:], self.bytes[at:at + length], at)
        data = self.data(length)
        area[at - first:] = data
        self.bytes[at:at + length] = data
        if self.random.randrange(2):
            area.flush()
        self.same(os.pread(self.fd, length, at), data, at)
        area.close()
        return at, length

    def seek(self):
        """Blocks that hold a byte other than zero, and only these, are data."""
        os.fsync(self.fd)
        at, ranges = 0, []
        while True:
            try:
                begin = os.lseek(self.fd, at, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    break
                raise
            at = os.lseek(self.fd, begin, os.SEEK_HOLE)
            assert at > begin, (begin, at)
            ranges.append((begin, at))
        data = set()
        for begin, end in ranges:
            assert begin % BLOCK == 0 and (end % BLOCK == 0 or end == len(self.bytes)), (begin, end)
            data.update(range(begin // BLOCK, -(-end // BLOCK)))
        zeroes = bytes(BLOCK)
        blocks = -(-len(self.bytes) // BLOCK)
        full = {i for i in range(blocks)
                if self.bytes[i * BLOCK:(i + 1) * BLOCK] not in (zeroes, zeroes[:len(self.bytes) % BLOCK])}
        assert data == full, f"data where there is none: {sorted(data - full)[:9]}, " \
                             f"missing: {sorted(full - data)[:9]} (blocks)"
        return len(ranges)

    def copy(self):
        """copy_file_range between ranges of the file, which the kernel may shorten."""
        if not self.bytes:
            return None
        source, length = self.random.randrange(len(self.bytes)), self.length()
        target = self.place()
        length = min(length, len(self.bytes) - source)
        if source < target + length and target < source + length:
            return None
        done = os.copy_file_range(self.fd, self.fd, length, source, target)
        self.put(target, self.bytes[source:source + done])
        return source, target, done

    def reopen(self):
        os.close(self.fd)
        empty = self.random.randrange(8) == 0
        self.fd = os.open(self.path, os.O_RDWR | (os.O_TRUNC if empty else 0))
        if empty:
            self.bytes.clear()
        return empty

    def sync(self):
        (os.fsync if self.random.randrange(2) else os.fdatasync)(self.fd)
        return ()

    def rename(self):
        other = self.path + ".renamed"
        os.rename(self.path, other)
        assert not os.path.exists(self.path)
        os.rename(other, self.path)
        return ()

    # --- the run

    def same(self, got, expected, at):
        if bytes(got) == bytes(expected):
            return
        wrong = next((i for i, (a, b) in enumerate(zip(got, expected)) if a != b),
                     min(len(got), len(expected)))
        raise AssertionError(f"at {at}: {len(got)} bytes for {len(expected)}, byte {at + wrong} differs")

    def check_all(self):
        assert os.fstat(self.fd).st_size == len(self.bytes)
        at = 0
        while at < len(self.bytes):
            self.same(os.pread(self.fd, 1 << 20, at), self.bytes[at:at + (1 << 20)], at)
            at += 1 << 20

    OPERATIONS = ([write] * 8 + [read] * 8 + [write_direct] * 4 + [read_direct] * 4 + [append] +
                  [write_durable] + [truncate] * 2 + [punch] * 3 + [zero] * 3 + [preallocate] +
                  [map] * 3 + [seek] + [copy] + [reopen] + [sync] + [rename])

    def run(self, count):
        for number in range(count):
            operation = self.random.choice(self.OPERATIONS)
            self.done.append((number, operation.__name__, "began"))
            self.done[-1] = (number, operation.__name__, operation(self))
            if number % 100 == 99:
                self.done.append((number, "check", "began"))
                self.check_all()
        self.check_all()
        self.seek()
        os.close(self.fd)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--no-mmap", action="store_true")
    options = parser.parse_args()
    model = Model(options.file, options.seed, not options.no_mmap)
    try:
        model.run(options.count)
    except (AssertionError, OSError) as error:
        for entry in model.done:
            print(*entry, file=sys.stderr)
        print(f"FAIL: seed {options.seed}: {error}", file=sys.stderr)
        return 1
    return 0


sys.exit(main())
