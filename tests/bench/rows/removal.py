# SPDX-License-Identifier: Apache-2.0
"""Deleting one of 1,000 snapshots of a device of a million extents, until df shows its space."""

import os
import time

from ..report import Check, Row
from ..words import pool_of_extents, write_words

NAME = "removal"
SNAPSHOTS = 1000
OWN_MIB = 1  # what each snapshot has alone: the same range is written anew after each
BOUND_S = 2
PATIENCE_S = 60


def _free(mount):
    place = os.statvfs(mount)
    return place.f_bavail * place.f_frsize


def run(bench):
    row = Row(NAME, f"deleting one of {SNAPSHOTS} snapshots, until df shows its space")
    if "lamina" not in bench.names:
        return bench.without(row, "lamina")
    extents = min(bench.plan.extents, 1_000_000)
    pool, disk, _ = pool_of_extents(bench, "removal", extents, more=2 * SNAPSHOTS * OWN_MIB + 1024)
    with open(disk, "r+b", buffering=0) as file:
        for number in range(SNAPSHOTS):
            pool.snapshot_of("disk", f"s{number}")
            write_words(file, OWN_MIB << 20, number)
    pool.checkpoint()
    row.notes.append(f"{extents} extents in the device, {pool.status()['devices']} devices")
    time.sleep(2)
    worst = 0
    for number in range(1, bench.rounds + 1):
        before = _free(pool.mount)
        begin = time.monotonic()
        (pool.mount / f"s{SNAPSHOTS * number // (bench.rounds + 1)}").unlink()
        gone = time.monotonic() - begin
        # Fragments of segments come back with the mover, a little later; most of it must be there.
        while _free(pool.mount) - before < OWN_MIB << 19:
            if time.monotonic() - begin > PATIENCE_S:
                row.notes.append(f"round {number}: not shown after {PATIENCE_S} s")
                break
            time.sleep(0.01)
        took = time.monotonic() - begin
        worst = max(worst, took)
        row.notes.append(f"round {number}: rm {gone * 1e3:.1f} ms, shown after {took:.2f} s: "
                         f"{(_free(pool.mount) - before) >> 10} KiB more")
        time.sleep(1)
    row.checks.append(Check("the slowest, s", worst, BOUND_S, at_least=False))
    pool.discard()
    return row
