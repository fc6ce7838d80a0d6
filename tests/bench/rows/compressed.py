# SPDX-License-Identifier: Apache-2.0
"""Data that halves, aged to a compression blob: the room it takes, and reads, beside what others keep
compressed. All at zstd 3, but qemu-img's default, which is zlib."""

import time

from .. import fio
from ..machine import Missing, sh
from ..report import Check, Row
from ..tiers import CompressedBtrfs, CompressedQcow2, TieredPool

NAME = "compressed"


def run(bench):
    row = Row(NAME, "4K random cold read, depth 32, of compressed data", "k IOPS", scale=1000)
    if "lamina" not in bench.names:
        return bench.without(row, "lamina")
    size = 256 if bench.plan.quick else bench.plan.data
    source = bench.folder.path / "halves.raw"
    sh("truncate", "-s", size << 20, source)
    fio.run(source, rw="write", bs="1m", depth=8, size=size, end_fsync=True, halves=True)
    pool = TieredPool(bench.folder, NAME, 2 * size, "compression")
    disk = pool.create("disk", size)
    sh("dd", f"if={source}", f"of={disk}", "bs=1M", "conv=notrunc,fsync", "oflag=direct",
       "status=none")
    begin = time.monotonic()
    pool.age()
    seconds = time.monotonic() - begin
    peers = {}
    for name, make in (("qcow2", lambda: CompressedQcow2(bench.folder, source, "zlib")),
                       ("qcow2", lambda: CompressedQcow2(bench.folder, source, "zstd")),
                       ("btrfs", lambda: CompressedBtrfs(bench.folder, bench.plan, source))):
        if name not in bench.names:
            continue
        try:
            peer = make()
            peers[peer.name] = peer
        except (Missing, RuntimeError) as why:
            row.notes.append(f"{name}: {why}")
    files = {name: peer.file for name, peer in peers.items()} | {"lamina": disk}
    sequential = {name: [] for name in files}
    for number in range(bench.rounds):
        samples = {}
        for name, file in files.items():
            (peers.get(name) or pool).cold()
            samples[name] = fio.run(file, rw="randread", size=size, seconds=bench.plan.seconds,
                                    seed=2200 + number)
            (peers.get(name) or pool).cold()
            sequential[name].append(fio.run(file, rw="read", bs="1m", depth=8, size=size).mib_s)
        row.rounds.append(samples)
    row.ratio("lamina / qcow2 zlib", "qcow2 zlib", 3)
    row.ratio("lamina / qcow2 zstd", "qcow2 zstd", 1)
    middle = {name: sorted(values)[len(values) // 2] for name, values in sequential.items()}
    row.notes.append("sequential cold read, MiB/s: "
                     + ", ".join(f"{name} {value:.0f}" for name, value in middle.items()))
    if "btrfs zstd" in middle:
        row.checks.append(Check("sequential cold read, lamina / btrfs zstd",
                                middle["lamina"] / middle["btrfs zstd"], 1))
    stored = {name: peer.stored() for name, peer in peers.items()}
    stored["lamina"] = pool.blob("below")["used"] + 2 * pool.status()["metadata_bytes"]
    row.notes.append(f"of {size} MiB there are stored: "
                     + ", ".join(f"{name} {b / (1 << 20):.0f} MiB" for name, b in stored.items())
                     + f"; aged {size / seconds:.0f} MiB/s")
    for served in (pool, *peers.values()):
        served.discard()
    source.unlink()
    return row
