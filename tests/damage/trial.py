# SPDX-License-Identifier: Apache-2.0
"""One damage to one system: what was done about it, and what was lost in the end."""

from dataclasses import dataclass, field

from .payload import BLOCK, Outcome

# What must never be, whatever was damaged: bytes that are not what belongs there, and a clean bill.
SINS = ("wrong", "stale", "resurrected", "vanished", "unreported", "false_clean")


@dataclass
class Trial:
    kind: str
    seed: int
    damaged: int = 0           # bytes that were written over
    destroyed: int = 0         # bytes of payload in them, at most
    lost: int = 0              # bytes of payload that cannot be read in the end
    beyond: int = 0            # of those: what was not destroyed itself
    lost_before_repair: int = 0
    wrong: int = 0             # bytes, like the rest
    stale: int = 0
    resurrected: int = 0
    vanished: int = 0          # zeroes instead of data
    unreported: int = 0        # lost, and the last verdict before it was read was "all is well"
    suspect: int = 0           # bytes that a repair leaves unreadable until a person accepts them
    accepted: int = 0          # stale, resurrected or vanished, since a person accepted what is suspect
    false_clean: int = 0       # 1: called clean, and something was lost or wrong
    unnoticed: int = 0         # 1: metadata was damaged, called clean, and nothing was lost
    verdict: str = ""          # of the checker, before anything is repaired
    mounted: bool = False      # without a repair
    repair: str = ""           # what it took: "", "repair", "accepted", "failed"
    seconds: float = 0
    notes: list = field(default_factory=list)

    def judge(self, outcome: Outcome, accepted):
        """Takes over what was read; called for each reading, the last one counts for what is lost.
        """
        self.lost = outcome.lost_bytes()
        for kind in ("wrong", "stale", "resurrected", "vanished"):
            bytes_of = outcome.counts[kind] * BLOCK
            if accepted and kind != "wrong":
                self.accepted += bytes_of
            else:
                setattr(self, kind, max(getattr(self, kind), bytes_of))
        self.notes += [note for note in outcome.notes if note not in self.notes]

    def sins(self):
        return {name: getattr(self, name) for name in SINS if getattr(self, name)}
