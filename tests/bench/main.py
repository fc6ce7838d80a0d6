# SPDX-License-Identifier: Apache-2.0
"""The command line, the contenders and the order of everything."""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from . import plan as plans
from .contenders import PEERS
from .lamina import TOP, Lamina
from .machine import Folder, Missing
from .rows import ROWS

NAMES = [*PEERS, "lamina"]


class Bench:
    """What a row is given: the plan, and contenders made when they are first wanted."""

    def __init__(self, options, plan, folder):
        self.plan, self.folder, self.rounds = plan, folder, plan.rounds
        self.names = list(options.contenders)
        self.settings = [f"reactors: {options.reactors}"] if options.reactors else None
        self.missing = {}
        self._made = {}

    def contender(self, name):
        """None where it cannot run here; that is said once and kept for the report."""
        if name not in self._made:
            say(f"making and filling {name}")
            try:
                self._made[name] = (Lamina(self.folder, self.plan, self.settings)
                                    if name == "lamina" else PEERS[name](self.folder, self.plan))
            except (Missing, RuntimeError) as reason:
                self.missing[name] = str(reason)
                self._made[name] = None
                self.names.remove(name)
                say(f"{name} cannot run: {reason}")
        return self._made[name]

    def alternate(self, row, one, among=None):
        """Rounds in which each contender has one turn, in an order that turns too."""
        names = [n for n in among or list(self.names) if self.contender(n)]
        for number in range(1, self.rounds + 1):
            order = names[number % len(names):] + names[:number % len(names)]
            samples = {name: one(self.contender(name), number) for name in order}
            row.rounds.append({name: samples[name] for name in names})

    @staticmethod
    def without(row, name):
        row.notes.append(f"not run: {name} is not among the contenders")
        return row


def say(text):
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def arguments():
    parser = argparse.ArgumentParser(
        prog="tools/bench", description="lamina and its peers, side by side, on one disk.",
        epilog="Example: tools/bench --only randread,randwrite --rounds 5 --json out.json")
    parser.add_argument("--only", metavar="ROW[,ROW]", help=f"rows: {', '.join(ROWS)}")
    parser.add_argument("--contenders", metavar="NAME[,NAME]", help=", ".join(NAMES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true",
                        help="small data: shows that it runs, no figure of it counts")
    parser.add_argument("--dir", default="/var/tmp",
                        help="a folder on the disk to measure, with some 30 GiB free")
    parser.add_argument("--reactors", type=int, help="run lamina with so many")
    parser.add_argument("--json", metavar="FILE", help="everything measured, `-` for the output")
    options = parser.parse_args()
    for key, known in (("only", list(ROWS)), ("contenders", NAMES)):
        value = getattr(options, key)
        chosen = value.split(",") if value else known
        unknown = [name for name in chosen if name not in known]
        if unknown:
            parser.error(f"--{key}: no {', '.join(unknown)}; there are {', '.join(known)}")
        setattr(options, key, [name for name in known if name in chosen])
    return options


def run_rows(bench, options):
    out = sys.stderr if options.json == "-" else sys.stdout
    rows, failed = {}, []
    for name in options.only:
        say(f"row {name}")
        try:
            row = ROWS[name].run(bench)
        except (RuntimeError, OSError, KeyError, Missing, TypeError) as error:
            # One row's failure costs that row.
            failed.append(name)
            print(f"== {name}: could not be run: {error!r}", file=out, flush=True)
            continue
        rows[name] = row
        print("\n".join(row.lines()), file=out, flush=True)
    if "lamina" in bench.names and bench._made.get("lamina"):
        print(f"lamina's RSS at its most since the last mount: "
              f"{bench.contender('lamina').rss_mib():.0f} MiB", file=out)
    for name, reason in bench.missing.items():
        print(f"could not run {name}: {reason}", file=out)
    return rows, failed


def main():
    options = arguments()
    if os.geteuid() != 0:
        sys.exit("tools/bench: mounts, loops and dropping caches need root")
    subprocess.run([TOP / "tools/packages", "install", "run", "bench"], check=True)
    plan = (plans.quick if options.quick else plans.full)(options.rounds)
    folder = Folder(options.dir)
    bench = Bench(options, plan, folder)
    try:
        machine = dict(kernel=platform.release(), cpus=os.cpu_count(), folder=str(Path(options.dir)))
        out = sys.stderr if options.json == "-" else sys.stdout
        print(f"kernel {machine['kernel']}, {machine['cpus']} cpus, {options.dir}; "
              f"{plan.rounds} rounds, {plan.data} MiB of data each", file=out)
        if plan.caveat():
            print(plan.caveat(), file=out, flush=True)
        rows, failed = run_rows(bench, options)
        if plan.caveat():
            print(plan.caveat(), file=out)
        if options.json:
            text = json.dumps(dict(machine=machine, quick=plan.quick, missing=bench.missing,
                                   failed=failed,
                                   rows={n: r.as_dict() for n, r in rows.items()}), indent=1)
            if options.json == "-":
                print(text)
            else:
                Path(options.json).write_text(text + "\n")
    finally:
        folder.close()
    missed = [f"{n}: {c.what}" for n, r in rows.items() for c in r.checks
              if c.verdict() == "MISSED"]
    # A quick run shows that everything runs; its ratios decide nothing.
    sys.exit(1 if failed or (missed and not plan.quick) else 0)
