# SPDX-License-Identifier: Apache-2.0
"""The ways to damage: what is written over which bytes of which disks.

A `Target` is what is damaged: the images of one pool or file system as they were prepared, and what
lies where in them. A damage is a function of a target and a generator of random numbers; it returns
a list of `Hit`. One seed and one name are one damage.
"""

import os
import random
from dataclasses import dataclass, field

from .payload import BLOCK, tokens_in

FILLINGS = ("zeroes", "ones", "noise")


@dataclass(frozen=True)
class Hit:
    image: int   # which of the target's images
    at: int
    data: bytes


@dataclass
class Target:
    images: list                                   # paths
    metadata: list = field(default_factory=list)   # (image, offset)
    classes: dict = field(default_factory=dict)    # name -> [(image, offset)]
    whole: dict = field(default_factory=dict)      # name of a structure -> [(image, offset)]
    unsettled: set = field(default_factory=set)    # of the metadata what a crash may take
    frames: list = field(default_factory=list)     # (image, begin, end, blocks) of compressed payload
    older: list = field(default_factory=list)      # the images at an earlier time, for lost writes
    payload: list = field(default_factory=list)    # of each image: offset -> token

    @classmethod
    def of_image(cls, path):
        """Of a peer: metadata is what is neither payload nor zero."""
        payload, rest = tokens_in(path)
        return cls([path], metadata=[(0, at) for at in rest], payload=[payload])

    def sizes(self):
        return [os.path.getsize(path) for path in self.images]

    def read(self, image, at, length=BLOCK, older=False):
        with open((self.older if older else self.images)[image], "rb") as file:
            file.seek(at)
            return file.read(length).ljust(length, b"\0")

    def hits_metadata(self, hits):
        """Such that a checker must notice."""
        known = set(self.metadata) - self.unsettled
        return any((hit.image, at) in known for hit in hits
                   for at in range(hit.at, hit.at + len(hit.data), BLOCK))

    def destroyed(self, hits):
        """What of the payload the hits lie on: its tokens, and blocks of frames, of which nobody
        says which they are. Copies that are no longer in use count too: it is an upper bound."""
        tokens, framed = set(), 0
        for hit in hits:
            end = hit.at + len(hit.data)
            for at in range(hit.at, end, BLOCK):
                if at in self.payload[hit.image]:
                    tokens.add(self.payload[hit.image][at])
            framed += sum(blocks for image, a, b, blocks in self.frames
                          if image == hit.image and a < end and hit.at < b)
        return tokens, framed


def filling(kind, length, rng):
    return {"zeroes": bytes(length), "ones": b"\xff" * length}.get(kind) or rng.randbytes(length)


def over(places, rng, kind=None):
    kind = kind or rng.choice(FILLINGS)
    return [Hit(image, at, filling(kind, BLOCK, rng)) for image, at in places]


def random_blocks(count):
    def damage(target, rng):
        return over(rng.sample(target.metadata, min(count, len(target.metadata))), rng)
    return damage


def contiguous(length):
    def damage(target, rng):
        sizes = target.sizes()
        image = rng.choices(range(len(sizes)), sizes)[0]
        some = min(length, sizes[image])
        at = rng.randrange((sizes[image] - some) // BLOCK + 1) * BLOCK
        return [Hit(image, at, filling(rng.choice(FILLINGS), some, rng))]
    return damage


def one_of(name):
    def damage(target, rng):
        return over([rng.choice(target.classes[name])], rng)
    return damage


def everything_of(name):
    def damage(target, rng):
        return over(target.whole[name], rng, "noise")
    return damage


def both_ends(target, rng, length=1 << 20):
    return [Hit(image, at, filling("noise", length, rng))
            for image, size in enumerate(target.sizes()) for at in (0, size - length)]


def stale(count):
    """Writes that never reached the disk: blocks are what they were at an earlier time."""
    def damage(target, rng):
        changed = []
        for image, at in rng.sample(target.metadata, len(target.metadata)):
            before = target.read(image, at, older=True)
            if before.strip(b"\0") and before != target.read(image, at):
                changed.append(Hit(image, at, before))
            if len(changed) == count:
                break
        return changed
    return damage


def stale_data(target, rng):
    """The same of blocks of payload; where there was none before, there was nothing."""
    image = rng.choice([i for i, payload in enumerate(target.payload) if payload])
    at = rng.choice(sorted(target.payload[image]))
    return [Hit(image, at, target.read(image, at, older=True))]


def swapped(target, rng):
    """Two blocks of one class, each in the other's place."""
    name = rng.choice([name for name, places in target.classes.items() if len(places) > 1])
    (i, a), (j, b) = rng.sample(target.classes[name], 2)
    return [Hit(i, a, target.read(j, b)), Hit(j, b, target.read(i, a))]


def swapped_data(target, rng):
    image = rng.choice([i for i, payload in enumerate(target.payload) if len(payload) > 1])
    a, b = rng.sample(sorted(target.payload[image]), 2)
    return [Hit(image, a, target.read(image, b)), Hit(image, b, target.read(image, a))]


@dataclass(frozen=True)
class Kind:
    """A row of the table."""
    group: str
    name: str
    damage: object
    curve: bool = False  # a point of the plot
    blocks: int = 0      # of metadata, where it is so many of them

    def hits(self, target, seed):
        return self.damage(target, random.Random(f"{self.name}/{seed}"))


def curves():
    """What every system is damaged by."""
    for count in (1 << i for i in range(13)):
        name = f"{count} random block{'s' if count > 1 else ''} of metadata"
        yield Kind("metadata", name, random_blocks(count), True, count)
    yield from (Kind("contiguous", f"{human(BLOCK << i)} contiguous", contiguous(BLOCK << i), True)
                for i in range(0, 15, 2))


def targeted(target):
    """What is aimed at the structures of lamina."""
    yield from (Kind("one block", f"one {name}", one_of(name)) for name in sorted(target.classes))
    yield Kind("misplaced", "stale metadata, 1 block", stale(1))
    yield Kind("misplaced", "stale metadata, 16 blocks", stale(16))
    yield Kind("misplaced", "stale block of data", stale_data)
    yield Kind("misplaced", "two blocks of metadata swapped", swapped)
    yield Kind("misplaced", "two blocks of data swapped", swapped_data)
    yield from (Kind("whole", name, everything_of(name)) for name in target.whole)
    yield Kind("whole", "both ends of each disk", both_ends)


def human(size):
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def apply(hits, images):
    """Onto copies of the target's images; returns how many bytes."""
    for hit in hits:
        with open(images[hit.image], "r+b") as file:
            file.seek(hit.at)
            file.write(hit.data)
    return sum(len(hit.data) for hit in hits)
