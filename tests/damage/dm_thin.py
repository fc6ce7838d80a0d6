# SPDX-License-Identifier: Apache-2.0
"""dm-thin: its metadata by its own tools, its data by a file; no device mapper is needed.

thin_restore makes the metadata that the same devices would have, in blocks of 64 KiB, what is
shared being shared; thin_check judges the damage, thin_repair repairs, thin_dump says which
mappings are left, and each device is read through those. The first image is the metadata, the
second the data.
"""

import subprocess
import time
import xml.etree.ElementTree as xml
from pathlib import Path

from bench.machine import need, sh

from . import history
from .damages import Target, apply
from .file_systems import Folder, run
from .lamina import copy_images
from .payload import BLOCK, ZERO, Outcome, tokens_in
from .trial import Trial

CHUNK = 16            # blocks of 4 KiB in one of dm-thin
METADATA_MIB = 4      # what LVM gives a pool of this size


class DmThin:
    name = "dm-thin"

    def __init__(self, folder):
        need("thin_restore", "thin_repair", "thin_dump", "thin_check")
        files = folder / "files"
        files.mkdir()
        world = history.World(Folder(files, "never"), 1)
        history.old(world)
        history.newer(world)
        history.last(world)
        self.expected = world.expected()
        self.ids = {name: i for i, name in enumerate(self.expected, 1)}
        self.images = [folder / "metadata.img", folder / "data.img"]
        self._write(self._mappings(), folder / "pool.xml")
        _, metadata = tokens_in(self.images[0])
        payload, _ = tokens_in(self.images[1])
        self.target = Target(self.images, metadata=[(0, at) for at in metadata],
                             payload=[{}, payload])
        self.trial_folder = folder / "trial"

    def describe(self):
        return (f"{len(self.expected)} devices, {len(self.target.metadata)} blocks of metadata; "
                "mappings as thin_dump sees them, the kernel has no part in it")

    def _mappings(self):
        """Device -> {its chunk: the block of data}; equal chunks of a family are one block."""
        blocks, mappings = {}, {}
        for name, device in self.expected.items():
            mappings[name] = {}
            for chunk in range(len(device.blocks) // CHUNK):
                tokens = tuple(device.blocks[chunk * CHUNK:(chunk + 1) * CHUNK])
                if any(tokens):
                    block = blocks.setdefault((chunk, tokens), len(blocks))
                    mappings[name][chunk] = block
        self.blocks = len(blocks)
        return mappings

    def _write(self, mappings, file):
        with self.images[0].open("wb") as metadata, self.images[1].open("wb") as data:
            metadata.truncate(METADATA_MIB << 20)
            data.truncate(self.blocks * CHUNK * BLOCK)
            for name, chunks in mappings.items():
                for chunk, block in chunks.items():
                    data.seek(block * CHUNK * BLOCK)
                    data.write(self.expected[name].bytes[chunk * CHUNK * BLOCK:][:CHUNK * BLOCK])
        lines = [f'<superblock uuid="" time="1" transaction="1" data_block_size="{CHUNK * 8}" '
                 f'nr_data_blocks="{self.blocks}">']
        for name, chunks in mappings.items():
            lines.append(f'<device dev_id="{self.ids[name]}" mapped_blocks="{len(chunks)}" '
                         'transaction="0" creation_time="0" snap_time="1">')
            lines += [f'<single_mapping origin_block="{c}" data_block="{b}" time="0"/>'
                      for c, b in sorted(chunks.items())]
            lines.append("</device>")
        file.write_text("\n".join([*lines, "</superblock>", ""]))
        sh("thin_restore", "-i", file, "-o", self.images[0])

    def try_damage(self, kind, seed, keep=None):
        hits = kind.hits(self.target, seed)
        images = copy_images(self.images, self.trial_folder)
        trial = Trial(kind.name, seed, damaged=apply(hits, images))
        if keep:
            copy_images(images, Path(keep))
        tokens, _ = self.target.destroyed(hits)
        trial.destroyed = len(tokens) * BLOCK
        begin = time.monotonic()
        outcome = Outcome()
        self._read(self._surviving(images[0], trial), images[1], outcome)
        trial.judge(outcome, accepted=False)
        trial.beyond = len(outcome.lost - tokens) * BLOCK
        clean = trial.verdict == "clean" or self.clean_when_repaired
        trial.false_clean = int(clean and trial.beyond > 0)
        trial.seconds = time.monotonic() - begin
        return trial

    def _surviving(self, metadata, trial):
        """The mappings after what an administrator can do."""
        self.clean_when_repaired = False
        trial.verdict = "clean" if run("thin_check", metadata) == 0 else "damaged"
        if trial.verdict == "clean":
            trial.mounted = True
            return self._dump(metadata)
        trial.repair = "repair"
        repaired = metadata.with_suffix(".repaired")
        with repaired.open("wb") as file:
            file.truncate(METADATA_MIB << 20)
        found = {}
        if run("thin_repair", "-i", metadata, "-o", repaired) == 0:
            found = self._dump(repaired)
            self.clean_when_repaired = run("thin_check", repaired) == 0
        if not found:
            trial.repair = "failed"
        return found

    @staticmethod
    def _dump(metadata):
        """Device id -> {chunk: block of data}; nothing where there is no dump."""
        dump = subprocess.run(["thin_dump", str(metadata)], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, timeout=120).stdout
        found = {}
        try:
            for device in xml.fromstring(dump):
                chunks = found.setdefault(int(device.get("dev_id")), {})
                for mapping in device:
                    length = int(mapping.get("length", 1))
                    origin = int(mapping.get("origin_block", mapping.get("origin_begin", 0)))
                    data = int(mapping.get("data_block", mapping.get("data_begin", 0)))
                    chunks.update((origin + i, data + i) for i in range(length))
        except xml.ParseError:
            pass
        return found

    def _read(self, found, data, outcome):
        with data.open("rb") as file:
            for name, device in self.expected.items():
                chunks = found.get(self.ids[name])
                if chunks is None:
                    device.all_lost(name, outcome, "it is not there")
                    continue

                def read(at, length, chunks=chunks):
                    parts = []
                    for block in range(at // BLOCK, (at + length) // BLOCK):
                        where = chunks.get(block // CHUNK)
                        if where is None:
                            parts.append(ZERO)
                            continue
                        file.seek((where * CHUNK + block % CHUNK) * BLOCK)
                        parts.append(file.read(BLOCK).ljust(BLOCK, b"\0"))
                    return b"".join(parts)
                device.compare(name, read, outcome)
