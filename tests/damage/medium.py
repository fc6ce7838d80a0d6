# SPDX-License-Identifier: Apache-2.0
"""Where metadata lies on a blob of lamina: the places of blobs/FORMAT.md and engine/FORMAT.md.

Read from a pool that is whole and that nobody serves. Offsets are bytes of the blob. A block is found
by its magic where its kind may lie, in segments that have a valid header and are not retired; nothing
is checked beyond that.
"""

import os
import struct
from dataclasses import dataclass, field
from pathlib import Path

BLOCK, EDGE = 4096, 1 << 20
SLOT_RING, SLOTS = 64 << 10, 8
LOG, NODES, MOVED, HEADERS, FRAMES = 1, 2, 3, 4, 5
OPEN, SEALED, RETIRED = 1, 2, 3
FRAME_BLOCKS = 16


def u32(block, at):
    return struct.unpack_from("<I", block, at)[0]


def u64(block, at):
    return struct.unpack_from("<Q", block, at)[0]


@dataclass
class Segment:
    at: int
    blocks: int
    front: int       # blocks of the front summary
    generation: int
    kind: int
    state: int
    sums: int = 0    # blocks of payload checksums, or of the frame index
    back: int = 0    # blocks of the back summary

    def block(self, number):
        return self.at + number * BLOCK


@dataclass
class Medium:
    """One blob. `classes`: name of a class of metadata -> the offsets of its blocks."""
    path: Path
    size: int = 0
    segments: list = field(default_factory=list)
    classes: dict = field(default_factory=dict)

    def __post_init__(self):
        with open(self.path, "rb") as file:
            self._file = file
            self._read_superblock()
            for at in self._segment_places():
                segment = self._segment(at)
                if segment:
                    self.segments.append(segment)
                    self._look_into(segment)
        del self._file
        self._keep_the_newest()

    def metadata(self):
        """Offsets of all blocks, in order."""
        return sorted(at for places in self.classes.values() for at in places)

    # --- the disk

    def _read(self, at, blocks=1):
        return os.pread(self._file.fileno(), blocks * BLOCK, at)

    def _read_superblock(self):
        end = self._file.seek(0, os.SEEK_END)
        for at in (0, 32 << 10, end - BLOCK):
            block = self._read(at)
            if block[:8] == b"LAMINASB":
                break
        else:
            raise ValueError(f"{self.path}: no superblock of lamina")
        self.size, self._middle = u64(block, 88), u64(block, 96)
        self._segment_bytes, self._count = u32(block, 112) * BLOCK, u32(block, 116)
        self._erase = u32(block, 120)
        rings = [SLOT_RING, self.size - EDGE + SLOT_RING]
        self.classes["superblock"] = [0, 32 << 10, self._middle, self.size - BLOCK]
        self.classes["slot"] = [ring + i * BLOCK for ring in rings for i in range(SLOTS)
                                if self._read(ring + i * BLOCK)[:8] == b"LAMINASL"]

    def _rounded(self, at):
        return -(-at // self._erase) * self._erase

    def _segment_places(self):
        first, behind = self._rounded(EDGE), self._middle + self._rounded(EDGE)
        before = min((self._middle - first) // self._segment_bytes, self._count)
        for i in range(before):
            yield first + i * self._segment_bytes
        for i in range(self._count - before):
            yield behind + i * self._segment_bytes

    def _segment(self, at):
        block = self._read(at)
        if block[:8] != b"LAMINASG" or block[71] == RETIRED:
            return None
        segment = Segment(at, u32(block, 56), u32(block, 60), u32(block, 48), block[70], block[71])
        last = self._read(segment.block(segment.blocks - 1))
        if last[:8] == b"LAMINASM" and u32(last, 20) == segment.generation:
            segment.back = u32(last, 64)
        if segment.kind in (LOG, MOVED):
            segment.sums = -(-segment.blocks // 1024)
        elif segment.kind == FRAMES:
            segment.sums = self._frame_index_blocks(segment)
        return segment

    @staticmethod
    def _frame_index_blocks(segment):
        return -(-(segment.blocks // 2) * 4 // BLOCK)

    # --- a segment

    def _look_into(self, segment):
        self._add("segment header", segment, 0, 1)
        if segment.back:  # sealed: sums and summaries are there
            sums = "frame index" if segment.kind == FRAMES else "payload checksums"
            self._add(sums, segment, 1, segment.sums)
            self._add("front summary", segment, 1 + segment.sums, segment.front)
            self._add("back summary", segment, segment.blocks - segment.back, segment.back)
        if segment.kind == LOG:
            self._add_records(segment)
        elif segment.kind == NODES:
            self._add_nodes(segment)

    def _add(self, name, segment, first, blocks):
        self.classes.setdefault(name, []).extend(segment.block(first + i) for i in range(blocks))

    def _add_records(self, segment):
        number = 1 + segment.sums
        while number < segment.blocks - segment.back:
            block = self._read(segment.block(number))
            if block[:8] != b"LAMINARC" or u32(block, 20) != segment.generation:
                break
            self._add("record", segment, number, 1)
            number += 1 + struct.unpack_from("<H", block, 128 + 12)[0]

    def _add_nodes(self, segment):
        for number in range(1, segment.blocks - segment.back):
            block = self._read(segment.block(number))
            if block[:8] == b"LAMINAND" and u32(block, 132) == segment.generation:
                name = "leaf" if block[12] == 0 else "inner node"
                self.classes.setdefault(name, []).append(
                    (u64(block, 16), u64(block, 32), segment.block(number)))
            elif block[:8] == b"LAMINATB":
                self.classes.setdefault("table page", []).append(
                    (u64(block, 16), u32(block, 32), block[48:48 + u32(block, 40)],
                     segment.block(number)))

    def frames(self, segment):
        """(begin, end, blocks) of each frame of a segment of that class, in bytes of the blob."""
        with open(self.path, "rb") as file:
            data = os.pread(file.fileno(), segment.blocks * BLOCK, segment.at)
        words = struct.unpack_from(f"<{segment.blocks // 2}I", data, BLOCK)
        places = [word * 8 for word in words if word]
        for begin, end in zip(places, places[1:]):
            if data[begin:begin + 4] == b"LFRM":
                yield segment.at + begin, segment.at + end, data[begin + 12]

    # --- of nodes and pages only what a mount can still want

    def _keep_the_newest(self):
        self.old_nodes = []
        for name in ("leaf", "inner node"):
            found = self.classes.get(name, [])
            newest = {}
            for node, version, _ in found:
                newest[node] = max(newest.get(node, 0), version)
            self.classes[name] = [at for node, version, at in found if newest[node] == version]
            self.old_nodes += [at for node, version, at in found if newest[node] != version]
        pages = self.classes.pop("table page", [])
        kept = sorted({checkpoint for checkpoint, *_ in pages})[-2:]
        self.classes["table page"] = [p[-1] for p in pages if p[0] in kept]
        self.node_table = [at for checkpoint in kept
                           for at in node_table_places([p for p in pages if p[0] == checkpoint])]


def node_table_places(pages):
    """Where the pages of one checkpoint lie that hold a part of its node table."""
    stream = {index: data for _, index, data, _ in pages}
    begin = node_table_begin(b"".join(stream[i] for i in sorted(stream)))
    page_bytes = BLOCK - 56
    return [at for _, index, _, at in pages if (index + 1) * page_bytes > begin]


class Stream:
    def __init__(self, data):
        self.data, self.at = data, 0

    def number(self):
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def numbers(self, count):
        for _ in range(count):
            self.number()

    def text(self):
        size = self.number()
        self.at += size

    def rows(self, row):
        for _ in range(self.number()):
            row()

    def pair_of_texts(self):
        self.text()
        self.text()


def node_table_begin(data):
    """The byte of a stream of tables (engine/FORMAT.md, "The stream") at which its nodes begin."""
    s = Stream(data)

    def origin():
        s.number()
        s.text()

    def device():
        s.number()
        s.text()                    # name
        s.number()
        s.text()                    # attributes
        s.rows(s.pair_of_texts)     # xattrs
        s.numbers(7)                # created .. last copy
        s.rows(s.number)            # external origins
        s.numbers(4)                # map .. extents

    s.numbers(9)                    # version .. next origin
    s.rows(origin)
    s.text()
    s.rows(s.pair_of_texts)
    s.rows(lambda: s.numbers(2))    # epochs
    s.rows(device)
    s.number()                      # used blocks
    s.rows(lambda: s.numbers(4))    # lineage
    s.rows(lambda: s.numbers(3))    # lost ranges
    s.rows(lambda: s.numbers(12))   # segments
    return s.at
