# SPDX-License-Identifier: Apache-2.0
"""Random writes while other data ages to a compression blob at level 3, beside the same writes while
nothing does. What is aged is data that halves; it is written anew for every round."""

import subprocess
from statistics import median

from .. import fio
from ..machine import wait_for
from ..report import Check, Row
from ..tiers import TieredPool

NAME = "aging_pace"


def run(bench):
    row = Row(NAME, "4K random write, depth 32, while data ages to a compression blob", "k IOPS",
              scale=1000)
    if "lamina" not in bench.names:
        return bench.without(row, "lamina")
    old, new = (512, 256) if bench.plan.quick else (2560, 1024)
    # Room for all that is written: nothing is cleaned meanwhile.
    pool = TieredPool(bench.folder, NAME, 3 * bench.plan.pool, "compression")
    aging, disk = pool.create("old", old), pool.create("disk", new)
    fio.fill(disk, new)

    def writes(number):
        return fio.Job([disk], rw="randwrite", size=new, seconds=bench.plan.seconds, endless=True,
                       with_repeats=True, seed=2400 + number)

    def figure(of):
        status = pool.status()
        return (status if of == "written_user" else status["mover"])[of] / (1 << 20)

    rates, whole = [], []
    for number in range(1, bench.rounds + 1):
        fio.run(aging, rw="write", bs="1m", depth=8, size=old, end_fsync=True, halves=True,
                seed=2450 + number)
        pool.checkpoint()
        samples = {"alone": writes(number).result()}
        pool.sync()
        written, aged = figure("written_user"), figure("aged_bytes")
        job = writes(number)
        wait_for("the first writes", lambda: figure("written_user") > written)
        asked = subprocess.Popen([pool.program, "age", pool.mount], stdout=subprocess.DEVNULL)
        samples["lamina"] = job.result()
        rates.append((figure("aged_bytes") - aged) / bench.plan.seconds)
        whole.append(asked.poll() is None)
        asked.wait()
        row.rounds.append(samples)
    row.ratio("while data ages / alone", "alone", 0.8)
    row.checks.append(Check("aged meanwhile, MiB/s", median(rates), 30))
    if not all(whole):
        row.notes.append("there was not enough to age: the figures tell nothing")
    pool.discard()
    return row
