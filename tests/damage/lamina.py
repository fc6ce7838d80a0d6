# SPDX-License-Identifier: Apache-2.0
"""lamina as it is damaged: a pool of three tiers, killed while it served."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import time
from pathlib import Path

from bench.lamina import program
from bench.machine import sh, wait_for

from . import history
from .damages import Target, apply
from .medium import FRAMES, Medium, keep_what_is_in_use
from .payload import BLOCK, Outcome, tokens_in
from .trial import Trial

FLUSH_AFTER = 1  # seconds, the default
DISKS = {"fast": ("journal", 128), "mid": ("transparent", 96), "deep": ("compression", 96)}


class Pool:
    """Three images in a folder, and where they are mounted."""

    def __init__(self, folder):
        self.program = program()
        self.folder = folder
        self.images = [folder / f"{name}.img" for name in DISKS]
        self.config = folder / "pool.yaml"
        self.mount = folder / "mnt"
        self.mount.mkdir(parents=True, exist_ok=True)
        self.config.write_text("pool: damage\nblobs:\n" + "".join(
            f"  - {{name: {name}, kind: {kind}, path: {folder / name}.img}}\n"
            for name, (kind, _) in DISKS.items())
            + "aging:\n  fast: {keep_free: 0%, idle: 1000h}\n  mid: {keep_free: 0%, idle: 1000h}\n"
            + "memory: {nodes: 16M, layers: 16M, tail: 16M, sums: 16M, frames: 16M, requests: 16M}\n")

    def lamina(self, *words):
        """Its exit code and what it said; 124 where it did not come to an end."""
        try:
            done = subprocess.run([str(self.program), *map(str, words)], text=True, timeout=120,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace")
        except subprocess.TimeoutExpired:
            return 124, f"{words[0]}: no answer in 120 s"
        return done.returncode, done.stdout

    def start(self):
        return self.lamina("mount", self.config, self.mount)

    def stop(self):
        if os.path.ismount(self.mount):
            code, said = self.lamina("umount", self.mount, "--force")
            if code:
                self.kill()

    def pid(self):
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if os.fsencode(self.mount) in (entry / "cmdline").read_bytes().split(b"\0"):
                        return int(entry.name)
                except OSError:
                    continue
        return None

    def kill(self):
        pid = self.pid()
        if pid:
            os.kill(pid, signal.SIGKILL)
            wait_for("the daemon's end", lambda: not Path(f"/proc/{pid}").exists())
        sh("umount", "-l", self.mount, check=False)

    # --- as a place of a History

    def path(self, name):
        return self.mount / name

    def snapshot(self, name, new):
        os.setxattr(self.path(name), "user.lamina.snapshot", os.fsencode(new))

    def do(self, *words):
        code, said = self.lamina(*words)
        if code:
            raise RuntimeError(f"lamina {' '.join(map(str, words))}: code {code}\n{said}")


def copy_images(images, folder):
    """Sparse, and shared where the file system can."""
    folder.mkdir(parents=True, exist_ok=True)
    for image in images:
        sh("cp", "--sparse=always", "--reflink=auto", image, folder / image.name)
    return [folder / image.name for image in images]


def readable_blocks(path):
    """Of data; one that should not be there, but gives an error, tells nothing false."""
    fd, count = os.open(path, os.O_RDONLY), 0
    try:
        for at in range(0, os.fstat(fd).st_size, BLOCK):
            try:
                count += any(os.pread(fd, BLOCK, at))
            except OSError:
                continue
    finally:
        os.close(fd)
    return count


class Lamina:
    name = "lamina"

    def __init__(self, folder, prepared=None, seed=1):
        """`prepared`: a folder where the pool is kept, and taken from if it is there."""
        kept = Path(prepared).resolve() if prepared else folder / "prepared"
        pool, older = Pool(kept), Pool(kept / "older")
        known = kept / "expected"
        if not known.exists():
            self._make(pool, older, seed)
            known.write_bytes(pickle.dumps((self.expected, self.removed)))
        self.expected, self.removed = pickle.loads(known.read_bytes())
        self.target = target_of(pool.images, older.images)
        self.trial_pool = Pool(folder / "trial")

    def _make(self, pool, older, seed):
        for image, (_, mib) in zip(pool.images, DISKS.values()):
            with image.open("wb") as file:
                file.truncate(mib << 20)
        pool.do("format", pool.config)
        pool.do("mount", pool.config, pool.mount)
        world = history.World(pool, seed)
        try:
            history.old(world)
            pool.do("set", pool.path("pinned"), "tier=mid")
            pool.do("age", pool.mount)
            pool.do("sync", pool.mount)
            copy_images(pool.images, older.folder)
            history.newer(world)
            pool.do("sync", pool.mount)
            history.last(world)
            # The record of a flush that no other follows is witnessed by one that the timer writes
            # (B5); until then damage to it is a torn tail, which nobody can tell apart.
            time.sleep(2 * FLUSH_AFTER)
        finally:
            pool.kill()
        self.expected, self.removed = world.expected(), world.removed

    def describe(self):
        kinds = ", ".join(f"{len(places)} {name}" for name, places in self.target.classes.items())
        return (f"{len(self.expected)} devices, {len(self.target.metadata)} blocks of metadata "
                f"({kinds})")

    def try_damage(self, kind, seed, keep=None):
        """One damage, what it takes to mount, everything read. `keep`: a folder for the images."""
        hits = kind.hits(self.target, seed)
        pool = self.trial_pool
        copy_images(self.target.images, pool.folder)
        trial = Trial(kind.name, seed, damaged=apply(hits, pool.images))
        if keep:
            copy_images(pool.images, Path(keep))
            shutil.copy(pool.config, keep)
        begin = time.monotonic()
        try:
            self._check_mount_read(pool, trial, hits)
        finally:
            pool.stop()
        trial.seconds = time.monotonic() - begin
        return trial

    def _check_mount_read(self, pool, trial, hits):
        code, said = pool.lamina("check", pool.config, "--data", "--json")
        trial.verdict = {0: "clean", 1: "damaged"}.get(code, "refused")
        if code not in (0, 1):
            trial.notes.append(f"check: {said.strip()[-300:]}")
        code, said = pool.start()
        trial.mounted = code == 0
        outcome = Outcome()
        if code:
            trial.notes.append(f"mount: {said.strip()[-300:]}")
        else:
            outcome = self._read(pool, trial, trial.verdict == "clean")
            trial.judge(outcome, accepted=False)
            trial.lost_before_repair = trial.lost
        if code or not outcome.all_right():
            pool.stop()
            outcome = self._repair_and_read(pool, trial, outcome)
        tokens, framed = self.target.destroyed(hits)
        trial.destroyed = (len(tokens) + framed) * BLOCK
        trial.beyond = max(0, len(outcome.lost - tokens) - framed) * BLOCK
        if trial.verdict == "clean":
            any_harm = trial.lost_before_repair or outcome.lost or outcome.counts
            trial.false_clean = int(bool(any_harm))
            trial.unnoticed = int(not any_harm and self.target.hits_metadata(hits))

    def _repair_and_read(self, pool, trial, before):
        """`before`: what was read without a repair. Where something may have been newer than what a
        repair finds, that is suspect; of a pool which did not even mount a person accepts it, when
        all has been read once, and of no other."""
        code, said = pool.lamina("repair", pool.config, "--data", "--json")
        if code not in (0, 1):
            trial.notes.append(f"repair: code {code}: {said.strip()[-300:]}")
            if trial.mounted:
                return before
        trial.repair = "repair"
        suspect = json.loads(said)["suspect"] if code in (0, 1) else []
        trial.suspect = sum(one["length"] for one in suspect)
        mounted, why = pool.start()
        outcome = Outcome()
        if mounted:
            trial.repair = "failed"
            trial.notes.append(f"mount after repair: {why.strip()[-300:]}")
            for name, device in self.expected.items():
                device.all_lost(name, outcome, "the pool does not mount")
        else:
            outcome = self._read(pool, trial, code == 0)
        trial.judge(outcome, accepted=False)
        if suspect and not mounted and not trial.mounted:
            trial.repair = "accepted"
            for name in {one["device"] for one in suspect}:
                pool.do("set", pool.path(name), "suspect=accept")
            outcome = self._read(pool, trial, False)
            trial.judge(outcome, accepted=True)
        return outcome

    def _read(self, pool, trial, all_is_well):
        """All devices. `all_is_well`: what the last check or repair said."""
        outcome = Outcome()
        listed = (pool.mount / ".lamina/lost").read_text()
        names = set(os.listdir(pool.mount))
        for name in sorted(names - set(self.expected)):
            if blocks := readable_blocks(pool.mount / name):
                outcome.add("resurrected", f"the device {name}", blocks)
        for name, device in self.expected.items():
            if name not in names:
                device.all_lost(name, outcome, "it is not there")
                continue
            self._read_device(pool.mount / name, name, device, outcome)
        if all_is_well and not listed and trial.repair != "accepted":
            trial.unreported = outcome.lost_bytes()
        return outcome

    @staticmethod
    def _read_device(path, name, device, outcome):
        if path.stat().st_size != len(device.bytes):
            outcome.add("wrong", f"{name} has {path.stat().st_size} bytes")
        fd = os.open(path, os.O_RDONLY)
        try:
            device.compare(name, lambda at, length: os.pread(fd, length, at), outcome)
        finally:
            os.close(fd)


def target_of(images, older):
    target = Target(images, older=older)
    media = [Medium(image) for image in images]
    node_table = keep_what_is_in_use(media)
    nodes = ["leaf", "inner node"]
    for i, medium in enumerate(media):
        target.unsettled |= {(i, at) for at in medium.unsettled}
        target.metadata += [(i, at) for at in medium.metadata()]
        for name, places in medium.classes.items():
            if places:
                target.classes.setdefault(name, []).extend((i, at) for at in places)
        target.frames += [(i, *frame) for segment in medium.segments if segment.kind == FRAMES
                          for frame in medium.frames(segment)]
        payload, _ = tokens_in(images[i])
        target.payload.append(payload)

    def all_of(*names):
        return [place for name in names for place in target.classes.get(name, [])]
    target.whole = {
        "all metadata": all_of("superblock", "slot", "log mark", *nodes),
        "the node table": [(media.index(p.medium), p.at) for p in node_table],
        "all checkpoints": all_of("slot", "table page")}
    return target
