# SPDX-License-Identifier: Apache-2.0
"""An ext4 image with /usr in it, aged to a compression blob: the room that it takes, all metadata
counted, beside what others make of the same image. All at zstd 3, but qemu-img's default, which is
zlib."""

from .. import usr_image
from ..machine import Missing, sh
from ..report import Check, Row
from ..tiers import CompressedBtrfs, CompressedQcow2, TieredPool

NAME = "space"


def run(bench):
    row = Row(NAME, "the room that an ext4 image with /usr in it takes, compressed")
    if "lamina" not in bench.names:
        return bench.without(row, "lamina")
    size = 512 if bench.plan.quick else bench.plan.data
    source, what = usr_image.make(bench.folder, size)
    pool = TieredPool(bench.folder, NAME, 2 * size, "compression")
    disk = pool.create("disk", size)
    sh("dd", f"if={source}", f"of={disk}", "bs=1M", "conv=notrunc,fsync", "oflag=direct",
       "status=none")
    pool.age()
    metadata = pool.status()["metadata_bytes"]  # once; its other copy lies below
    stored = {"lamina": pool.stored_below() + metadata}
    for name, make in (("qcow2", lambda: CompressedQcow2(bench.folder, source, "zlib")),
                       ("qcow2", lambda: CompressedQcow2(bench.folder, source, "zstd")),
                       ("btrfs", lambda: CompressedBtrfs(bench.folder, bench.plan, source))):
        if name not in bench.names:
            continue
        try:
            peer = make()
            stored[peer.name] = peer.stored()
            peer.discard()
        except (Missing, RuntimeError) as why:
            row.notes.append(f"{name}: {why}")
    sh("cmp", source, disk)
    for peer, least in (("btrfs zstd", True), ("qcow2 zstd", True), ("qcow2 zlib", None)):
        if peer in stored:
            row.checks.append(Check(f"lamina / {peer}", stored["lamina"] / stored[peer],
                                    1 if least else None, at_least=False))
    row.notes.append(f"{what}; stored: "
                     + ", ".join(f"{name} {b / (1 << 20):.1f} MiB" for name, b in stored.items()))
    row.notes.append(f"in whole segments lamina's are {pool.blob('below')['used'] / (1 << 20):.0f} MiB")
    pool.discard()
    source.unlink()
    return row
