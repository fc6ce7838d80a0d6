# SPDX-License-Identifier: Apache-2.0
"""Random reads while the pool is scrubbed, beside the same reads while nothing is; and how fast a
scrub is when nobody else is there."""

import os
import time
from statistics import median

from .. import fio
from ..lamina import Pool
from ..machine import wait_for
from ..report import Check, Row

NAME = "scrub"


def run(bench):
    row = Row(NAME, "4K random read, depth 32, while the pool is scrubbed", "k IOPS", scale=1000)
    if "lamina" not in bench.names:
        return bench.without(row, "lamina")
    pool = Pool(bench.folder, NAME, bench.plan.pool)
    disk = pool.create("disk", bench.plan.data)
    fio.fill(disk, bench.plan.data)
    pool.checkpoint()

    def status():
        return pool.status()["scrub"]

    def ask(what):
        os.setxattr(pool.mount, "user.lamina.scrub", what)

    def reads(number):
        pool.stop()
        pool.start()
        return fio.Job([disk], rw="randread", size=bench.plan.data, seconds=bench.plan.seconds,
                       endless=True, with_repeats=True, seed=2600 + number)

    rates, alone = [], []
    for number in range(1, bench.rounds + 1):
        samples = {"alone": reads(number).result()}
        began = time.monotonic()
        ask(b"1")
        wait_for("the scrub", lambda: status()["answered"] == status()["asked"], seconds=600)
        alone.append(status()["verified_bytes"] / (1 << 20) / (time.monotonic() - began))
        job = reads(number)
        ask(b"1")
        samples["lamina"] = job.result()
        rates.append(status()["verified_bytes"] / (1 << 20) / bench.plan.seconds)
        if status()["state"] != "running":
            row.notes.append("there was not enough to scrub: the figures tell nothing")
        ask(b"0")
        wait_for("the end of the scrub", lambda: status()["state"] != "running", seconds=60)
        row.rounds.append(samples)
    row.ratio("while it is scrubbed / alone", "alone", 0.8)
    row.checks.append(Check("scrubbed meanwhile, MiB/s", median(rates), 100))
    row.checks.append(Check("scrubbed with nobody beside, MiB/s", median(alone), 100))
    pool.discard()
    return row
