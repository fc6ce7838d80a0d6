# SPDX-License-Identifier: Apache-2.0
"""What a row found: every round, the medians, percentiles, and each target with its ratio."""

from dataclasses import dataclass, field
from statistics import median


@dataclass
class Check:
    """A figure held against the issue's table. `at_least` False: at most."""
    what: str
    value: float
    target: float = None  # None: reported only
    at_least: bool = True

    def verdict(self):
        if self.target is None:
            return ""
        good = self.value >= self.target if self.at_least else self.value <= self.target
        return "reached" if good else "MISSED"


@dataclass
class Row:
    name: str
    title: str
    unit: str = ""
    rounds: list = field(default_factory=list)   # of {contender: Sample}
    figure: str = "iops"                          # the Sample's field that counts
    scale: float = 1
    checks: list = field(default_factory=list)
    notes: list = field(default_factory=list)

    def contenders(self):
        return list(dict.fromkeys(name for r in self.rounds for name in r))

    def median(self, contender, figure=None):
        """Of the counted figure or another; None where the contender did not run."""
        values = [getattr(r[contender], figure or self.figure) for r in self.rounds
                  if contender in r]
        return median(values) if values else None

    def ratio(self, what, over, target=None, of="lamina"):
        mine, theirs = self.median(of), self.median(over)
        if mine is not None and theirs:
            self.checks.append(Check(what, mine / theirs, target))
        else:
            self.notes.append(f"{what}: no ratio, {of if mine is None else over} did not run")

    def as_dict(self):
        return {
            "title": self.title, "unit": self.unit, "figure": self.figure,
            "rounds": [{n: s.as_dict() for n, s in r.items()} for r in self.rounds],
            "medians": {n: self.median(n) for n in self.contenders()},
            "checks": [dict(what=c.what, value=c.value, target=c.target, at_least=c.at_least,
                            verdict=c.verdict()) for c in self.checks],
            "notes": self.notes,
        }

    def lines(self):
        yield f"== {self.name}: {self.title}" + (f" [{self.unit}]" if self.unit else "")
        names = self.contenders()
        if names:
            yield "  " + " " * 10 + "".join(f"{name:>14}" for name in names)
        for number, samples in enumerate(self.rounds, 1):
            yield f"  round {number:<4}" + "".join(
                f"{getattr(samples[n], self.figure) / self.scale:14.1f}" if n in samples
                else f"{'-':>14}" for n in names)
        if names:
            yield "  median    " + "".join(f"{self.median(n) / self.scale:14.1f}" for n in names)
            for figure in ("p50_us", "p99_us", "p999_us"):
                yield f"  {figure:<10}" + "".join(f"{self.median(n, figure):14.0f}" for n in names)
        for check in self.checks:
            bound = "" if check.target is None else (
                f"   (target: {'>=' if check.at_least else '<='} {check.target:g})")
            yield f"  {check.what}: {check.value:.3g}{bound} {check.verdict()}"
        for note in self.notes:
            yield f"  {note}"
