# SPDX-License-Identifier: Apache-2.0
"""Where metadata lies on a blob of lamina: the places of blobs/FORMAT.md and engine/FORMAT.md.

Read from a pool that is whole and that nobody serves. Offsets are bytes of the blob. A block is
found by its magic where its kind may lie, in segments that have a valid header and are not retired;
nothing is checked beyond that. `keep_what_is_in_use` leaves, of a whole pool, what a mount can
still want.
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
    second: int = 0  # where the second copy of the checksums begins

    def block(self, number):
        return self.at + number * BLOCK


@dataclass
class Medium:
    """One blob. `classes`: name of a class of metadata -> the offsets of its blocks."""
    path: Path
    size: int = 0
    segments: list = field(default_factory=list)
    classes: dict = field(default_factory=dict)
    pages: list = field(default_factory=list)  # of tables: Page

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
        self.slots = {}  # offset -> number of its checkpoint
        for at in (ring + i * BLOCK for ring in rings for i in range(SLOTS)):
            block = self._read(at)
            if block[:8] == b"LAMINASL":
                self.slots[at] = u64(block, 16)
        self.classes["slot"] = list(self.slots)
        behind = [ring + SLOTS * BLOCK for ring in rings]
        self.classes["log mark"] = [at for at in behind if self._read(at)[:8] == b"LAMINALM"]

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
            segment.back, segment.second = u32(last, 64), u32(last, 76)
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
            if segment.second:
                self._add("second payload checksums", segment, segment.second, segment.sums)
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
                self._add("leaf" if block[12] == 0 else "inner node", segment, number, 1)
            elif block[:8] == b"LAMINATB":
                self._add("table page", segment, number, 1)
                self.pages.append(Page(u64(block, 16), u32(block, 32), block[48:48 + u32(block, 40)],
                                       self, segment.block(number)))

    def frames(self, segment):
        """(begin, end, blocks) of each frame of a segment of that class, in bytes of the blob."""
        with open(self.path, "rb") as file:
            data = os.pread(file.fileno(), segment.blocks * BLOCK, segment.at)
        words = struct.unpack_from(f"<{segment.blocks // 2}I", data, BLOCK)
        places = [word * 8 for word in words if word]
        for begin, end in zip(places, places[1:]):
            if data[begin:begin + 4] == b"LFRM":
                yield segment.at + begin, segment.at + end, data[begin + 12]


@dataclass
class Page:
    """A copy of a page of a checkpoint's tables."""
    checkpoint: int
    index: int
    data: bytes
    medium: Medium
    at: int


def keep_what_is_in_use(media):
    """Of all blobs of a pool: of segments, nodes, slots and pages those that the two newest
    checkpoints name, and what the log has taken since. Returns the pages that hold a part of a node
    table. `medium.unsettled`: of headers and summaries those of segments that were sealed since, and the
    log's marks; a crash may take them, so that nobody can call their loss damage."""
    pages = [page for medium in media for page in medium.pages]
    kept = sorted({page.checkpoint for page in pages})[-2:]
    tables = {checkpoint: Tables([p for p in pages if p.checkpoint == checkpoint])
              for checkpoint in kept}
    nodes = set().union(*(t.nodes for t in tables.values()))
    newest = tables[kept[-1]]
    for medium in media:
        bounds = {s.generation: (s.at, s.block(s.blocks)) for s in medium.segments}
        unused = [bounds[g] for g in bounds
                  if g in newest.dead or g < newest.next_generation and g not in newest.segments]

        def in_use(at):
            return not any(begin <= at < end for begin, end in unused)
        named = {bounds[g][0] + block * BLOCK for g, block in nodes if g in bounds}
        for name, places in medium.classes.items():
            medium.classes[name] = [at for at in places if in_use(at)]
        for name in ("leaf", "inner node"):
            medium.classes[name] = [at for at in medium.classes.get(name, []) if at in named]
        settled = [bounds[g] for g in bounds if g in newest.sealed]
        medium.unsettled = {
            at for name in ("segment header", "front summary", "back summary", "payload checksums",
                            "second payload checksums")
            for at in medium.classes.get(name, [])
            if not any(begin <= at < end for begin, end in settled)}
        medium.unsettled.update(medium.classes["log mark"])
        medium.classes["table page"] = [p.at for p in pages
                                        if p.medium is medium and p.checkpoint in kept]
        medium.classes["slot"] = [at for at, number in medium.slots.items() if number in kept]
    return [p for p in pages if p.checkpoint in kept
            and (p.index + 1) * (BLOCK - 56) > tables[p.checkpoint].nodes_begin]


class Tables:
    """What the stream of a checkpoint's tables says of segments and nodes (engine/FORMAT.md)."""

    def __init__(self, pages):
        stream = {page.index: page.data for page in pages}
        s = Stream(b"".join(stream[i] for i in sorted(stream)))
        version = s.number()
        if version > 5:
            raise ValueError(f"tables of version {version}: what is in them is not known here")
        s.numbers(6)                    # checkpoint .. next node
        self.next_generation = s.number()
        s.number()                      # next origin
        s.rows(lambda: (s.number(), s.text()))
        s.text()                        # root attributes
        s.rows(s.pair_of_texts)
        s.rows(lambda: s.numbers(2))    # epochs
        s.rows(lambda: self._device(s))
        s.number()                      # used blocks
        s.rows(lambda: s.numbers(4))    # lineage
        s.rows(lambda: s.numbers(3))    # lost ranges
        if version > 3:
            s.rows(lambda: s.numbers(3))    # suspect ranges
        s.numbers(7 if version > 2 else 0)  # scrub
        if version > 3:
            s.rows(lambda: s.numbers(2))    # sizes of segments
        self.segments, self.sealed, self.dead = set(), set(), set()
        s.rows(lambda: self._segment(s))
        self.nodes_begin = s.at
        self.nodes = set()              # (generation, block) of every copy
        s.rows(lambda: self._node(s))

    @staticmethod
    def _device(s):
        s.number()
        s.text()                        # name
        s.number()
        s.text()                        # attributes
        s.rows(s.pair_of_texts)         # xattrs
        s.numbers(7)                    # created .. last copy
        s.rows(s.number)                # external origins
        s.numbers(4)                    # map .. extents

    def _segment(self, s):
        s.numbers(2)                    # blob, index
        generation = s.number()
        use, kind, _, dead_in = (s.number() for _ in range(4))
        s.numbers(5)                    # live blocks .. addressed
        self.segments.add(generation)
        if use == SEALED and kind != NODES:
            self.sealed.add(generation)
        if dead_in or use >= RETIRED:
            self.dead.add(generation)

    def _node(self, s):
        s.numbers(2)                    # id, level
        self.nodes.update([(s.number(), s.number()), (s.number(), s.number())])
        s.numbers(2)                    # checkpoint, mapped blocks


class Stream:
    """Varints and texts, read one behind the other."""

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
