#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# destroy_metadata.py IMAGE [header|segment|leaves]: noise over every superblock, slot and node of a
# blob, and over the header of a segment of the log, or all of it; or over the leaves of all maps, both
# copies, and nothing else. Prints how many nodes. blobs/FORMAT.md has
# the places.
import os
import struct
import sys

BLOCK, EDGE = 4096, 1 << 20
image = open(sys.argv[1], "r+b")
size = image.seek(0, os.SEEK_END)


def read(at, length):
    image.seek(at)
    return image.read(length)


def spoil(at, length=BLOCK):
    image.seek(at)
    image.write(os.urandom(length))


(middle,) = struct.unpack_from("<Q", read(0, BLOCK), 96)
nodes, header = 0, None
for at in range(EDGE, size - EDGE, BLOCK):
    begin = read(at, 84)
    if begin[:8] == b"LAMINAND" and (begin[12] == 0 or "leaves" not in sys.argv):
        spoil(at)
        nodes += 1
    if begin[:8] == b"LAMINASG" and begin[70] == 1 and begin[71] == 2:  # of the log, sealed
        header = header or (at, struct.unpack_from("<I", begin, 56)[0] * BLOCK)
if "leaves" in sys.argv:
    print(nodes)
    sys.exit()
if "header" in sys.argv:
    spoil(header[0])
if "segment" in sys.argv:
    spoil(*header)
spoil(0, EDGE)
spoil(size - EDGE, EDGE)
spoil(middle)
print(nodes)
