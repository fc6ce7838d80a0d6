# SPDX-License-Identifier: Apache-2.0
"""How much is written and read, and for how long. MiB unless the name says otherwise."""

from dataclasses import dataclass

# The defaults of a pool (config/): nodes 256, layers, tail, sums, frames and requests 64 each.
CACHES = 576
TAIL = 64
# What lamina may use of memory beyond its settings.
RSS_ALLOWANCE = 64


@dataclass(frozen=True)
class Plan:
    quick: bool
    rounds: int
    data: int           # of each contender, filled before anything is measured
    writes: int         # of a measured run of random writes
    pool: int           # of lamina, given to `format --size`
    seconds: int        # of a measured run of reads, or of depth 1
    checkpoint_log: int  # random log that the checkpoint of row `checkpoint` has to merge
    extents: int        # of the big pool

    def caveat(self):
        if not self.quick:
            return None
        return (f"--quick: data {self.data} MiB is less than 4 x lamina's caches of {CACHES} MiB, "
                f"writes of {self.writes} MiB less than 16 x the tail of {TAIL} MiB; reads are partly "
                "warm and no figure of this run counts")


def full(rounds):
    plan = Plan(quick=False, rounds=rounds, data=2560, writes=1024, pool=8192, seconds=8,
                checkpoint_log=1024, extents=10_000_000)
    assert plan.data >= 4 * CACHES and plan.writes >= 16 * TAIL
    return plan


def quick(rounds):
    return Plan(quick=True, rounds=rounds, data=512, writes=256, pool=2048, seconds=3,
                checkpoint_log=256, extents=500_000)
