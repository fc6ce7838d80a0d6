#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# sum_of_device.py FILE...: for each a SHA-256 over its size, owner, mode, times, extended
# attributes and every byte that is not zero with its place; then its name. Holes cost nothing.
import hashlib
import os
import sys

CHUNK = 1 << 20


def ranges_of_data(fd, size):
    at = 0
    while at < size:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:  # ENXIO: only a hole is left
            return
        end = os.lseek(fd, at, os.SEEK_HOLE)
        yield at, end
        at = end


for path in sys.argv[1:]:
    stat = os.stat(path)
    names = sorted(os.listxattr(path))
    total = hashlib.sha256(repr((stat.st_size, stat.st_uid, stat.st_gid, stat.st_mode, stat.st_mtime_ns,
                                 [(name, os.getxattr(path, name)) for name in names])).encode())
    fd = os.open(path, os.O_RDONLY)
    for begin, end in ranges_of_data(fd, stat.st_size):
        for at in range(begin - begin % CHUNK, end, CHUNK):
            data = os.pread(fd, CHUNK, at)
            if data.strip(b"\0"):
                total.update(at.to_bytes(8, "little") + data)
    os.close(fd)
    print(total.hexdigest(), "", os.path.basename(path))
