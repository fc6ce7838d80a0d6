# SPDX-License-Identifier: Apache-2.0
"""The table, in words, and JSON: for each kind of damage the median and the worst of its seeds."""

from statistics import median

from .trial import SINS

COLUMNS = (("damage", 34), ("damaged", 9), ("lost: median", 13), ("worst", 9), ("beyond", 9),
           ("before repair", 15), ("wrong", 10), ("false clean", 13), ("repairs", 8))


def size(count):
    for unit, name in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            value = count / unit
            return f"{value:.0f} {name}" if value >= 100 else f"{value:.3g} {name}"
    return str(int(count))


class Kind:
    """All trials of one kind of damage to one system."""

    def __init__(self, group, name, curve, trials):
        self.group, self.name, self.curve, self.trials = group, name, curve, trials

    def median(self, key):
        return median(getattr(t, key) for t in self.trials)

    def worst(self, key):
        return max(getattr(t, key) for t in self.trials)

    def sins(self):
        """Name -> how many trials have it."""
        found = [name for t in self.trials for name in t.sins()]
        return {name: found.count(name) for name in SINS if name in found}

    def repairs(self):
        return sum(1 for t in self.trials if t.repair)

    def row(self):
        bad = max(self.worst(k) for k in ("wrong", "stale", "resurrected", "vanished", "unreported"))
        return (self.name, size(self.median("damaged")), size(self.median("lost")),
                size(self.worst("lost")), size(self.worst("beyond")),
                size(self.worst("lost_before_repair")), size(bad),
                str(sum(t.false_clean for t in self.trials)),
                f"{self.repairs()}/{len(self.trials)}")

    def as_dict(self):
        return dict(group=self.group, name=self.name, curve=self.curve,
                    median={k: self.median(k) for k in ("damaged", "lost", "seconds")},
                    worst={k: self.worst(k) for k in ("lost", "beyond", "lost_before_repair",
                                                      "accepted", "seconds")},
                    sins=self.sins(), trials=[vars(t) for t in self.trials])


def table(system, about, kinds):
    yield f"== {system}: {about}"
    yield "  " + "".join(f"{name:>{width}}" if i else f"{name:<{width}}"
                         for i, (name, width) in enumerate(COLUMNS))
    group = None
    for kind in kinds:
        if kind.group != group and group is not None:
            yield ""
        group = kind.group
        yield "  " + "".join(f"{cell:>{COLUMNS[i][1]}}" if i else f"{cell:<{COLUMNS[i][1]}}"
                             for i, cell in enumerate(kind.row()))


def in_table(name):
    """Of the numbers of blocks only powers of four."""
    words = name.split()
    return words[1] != "random" or int(words[0]).bit_length() % 2 == 1


def markdown(results):
    """What the README shows: of each system the median and the worst loss, and its false bytes."""
    curve = dict.fromkeys(k.name for _, kinds in results.values() for k in kinds if k.curve)
    yield "| damage | " + " | ".join(results) + " |"
    yield "|---" * (len(results) + 1) + "|"
    for name in filter(in_table, curve):
        cells = []
        for _, kinds in results.values():
            kind = next((k for k in kinds if k.name == name), None)
            cells.append(f"{size(kind.median('lost'))} / {size(kind.worst('lost'))}" if kind else "")
        yield f"| {name} | " + " | ".join(cells) + " |"
    yield "| blocks of metadata | " + " | ".join(about.split(" blocks of")[0].split(", ")[-1]
                                               for about, _ in results.values()) + " |"
    false, accepted = [], []
    for _, kinds in results.values():
        trials = [t for k in kinds if k.curve for t in k.trials]
        bad = sum(1 for t in trials if t.wrong or t.stale or t.resurrected or t.vanished)
        false.append(f"{bad} of {len(trials)}")
        accepted.append(str(sum(1 for t in trials if t.repair == "accepted") or ""))
    yield "| trials in which something false was read | " + " | ".join(false) + " |"
    yield "| trials in which a person had to accept what may be old | " + " | ".join(accepted) + " |"


def failure(kind, t):
    """What must never be, and what one block of metadata must never cost."""
    what = [name if value == 1 else f"{name} {size(value)}" for name, value in t.sins().items()]
    if kind.group == "one block":
        if not t.mounted:
            what.append("it did not mount")
        elif t.lost or t.lost_before_repair:
            what.append(f"{size(max(t.lost, t.lost_before_repair))} lost")
        if t.unnoticed:
            what.append("not noticed by check")
    return what


def short_of_the_aim(t):
    """What is no false byte, and yet less than it should be."""
    if t.beyond:
        yield f"lost {size(t.beyond)} beyond what was destroyed"
    if t.repair == "accepted":
        yield (f"{size(t.suspect)} were suspect, and a person accepted them "
               f"({size(t.accepted)} of it were not right)")
    if t.repair == "failed":
        yield "could not be repaired"
    if t.unnoticed:
        yield "damage that cost nothing was not noticed by check"


def failures(system, kinds):
    for kind in kinds:
        for t in kind.trials:
            what = failure(kind, t)
            if what:
                yield f"FAILED {system}: --only '{kind.name}' --seed {t.seed}: {'; '.join(what)}", t
            elif any(short_of_the_aim(t)):
                yield (f"{system}: --only '{kind.name}' --seed {t.seed}: "
                       f"{'; '.join(short_of_the_aim(t))}"), t


def failed(kinds):
    return any(failure(kind, t) for kind in kinds for t in kind.trials)
