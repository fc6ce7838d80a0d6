# SPDX-License-Identifier: Apache-2.0
"""4 jobs of depth 8 on 4 devices against one job of depth 32 on one."""

from .. import fio
from ..lamina import Pool
from ..report import Check, Row

NAME = "jobs"
JOBS = 4


def run(bench):
    row = Row(NAME, "4 jobs on 4 devices (depth 8 each) against one job (depth 32), random 4K",
              "k IOPS", scale=1000)
    if "lamina" not in bench.names:
        return bench.without(row, "lamina")
    each = bench.plan.data // JOBS
    pool = Pool(bench.folder, "jobs", bench.plan.pool, bench.settings)
    one = pool.create("one", bench.plan.data)
    several = [pool.create(f"dev{i}", each) for i in range(JOBS)]
    fio.fill(one, bench.plan.data)
    for disk in several:
        fio.fill(disk, each)
    for number in range(1, bench.rounds + 1):
        samples = {}
        for verb in ("read", "write"):
            options = dict(rw=f"rand{verb}", seed=700 + number)
            if verb == "read":
                options["seconds"] = bench.plan.seconds
            else:
                options["end_fsync"] = True
            pool.cold()
            amount = dict(amount=bench.plan.writes) if verb == "write" else {}
            samples[f"1 {verb}"] = fio.run(one, size=bench.plan.data, **amount, **options)
            pool.cold()
            amount = dict(amount=bench.plan.writes // JOBS) if verb == "write" else {}
            samples[f"{JOBS} {verb}"] = fio.run(several, size=each, depth=8, each_file_a_job=True,
                                                **amount, **options)
        row.rounds.append(samples)
    for verb in ("read", "write"):
        row.checks.append(Check(f"{verb}: 4 jobs / 1 job",
                                row.median(f"{JOBS} {verb}") / row.median(f"1 {verb}"), 0.95))
    pool.discard()
    return row
