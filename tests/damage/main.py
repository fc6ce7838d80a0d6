# SPDX-License-Identifier: Apache-2.0
"""The command line, the systems and the order of everything."""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench.lamina import TOP
from bench.machine import Folder, Missing

from . import damages, plot, report
from .dm_thin import DmThin
from .file_systems import Btrfs, Ext4, Xfs
from .lamina import Lamina

SYSTEMS = {"lamina": Lamina, "dm-thin": DmThin, "ext4": Ext4, "xfs": Xfs, "btrfs": Btrfs}
# Of --quick: what must never cost more than itself, in half a minute.
QUICK = ("1 random block of metadata", "16 random blocks of metadata", "4 KiB contiguous",
         "256 KiB contiguous")


def say(text):
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def arguments():
    parser = argparse.ArgumentParser(
        prog="tools/damage",
        description="Damages lamina and its peers, repairs them and counts what their users lost.",
        epilog="Example: tools/damage --only 'one leaf' --seed 7 --keep /tmp/leaf")
    parser.add_argument("--systems", metavar="NAME[,NAME]", help=", ".join(SYSTEMS))
    parser.add_argument("--only", metavar="TEXT", action="append",
                        help="only damages whose name is TEXT or whose group is; again for more")
    parser.add_argument("--seeds", type=range_of_seeds, default=range(1, 31), metavar="N|A..B",
                        help="default 30")
    parser.add_argument("--seed", type=int, metavar="N", help="only this one, with all that is known of it")
    parser.add_argument("--keep", metavar="FOLDER", help="the damaged images, with --seed and --only")
    parser.add_argument("--prepared", metavar="FOLDER",
                        help="lamina's pool before the damage: taken from there, or made and left there, "
                             "so that a seed is the same damage again")
    parser.add_argument("--quick", action="store_true",
                        help="lamina alone, a few seeds of a few damages; fails on any false byte")
    parser.add_argument("--dir", default="/dev/shm" if os.path.isdir("/dev/shm") else "/var/tmp",
                        help="a folder with some 4 GiB free (default %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="everything, `-` for the output")
    parser.add_argument("--merge", metavar="FILE", action="append", default=[],
                        help="JSON of earlier runs, to be in table and plot too")
    parser.add_argument("--plot", metavar="FOLDER", help="damage.svg, damage.png and a table, damage.md, there")
    options = parser.parse_args()
    chosen = options.systems.split(",") if options.systems else list(SYSTEMS)
    unknown = [name for name in chosen if name not in SYSTEMS]
    if unknown:
        parser.error(f"--systems: no {', '.join(unknown)}; there are {', '.join(SYSTEMS)}")
    options.systems = ["lamina"] if options.quick else chosen
    return options


def range_of_seeds(text):
    """N: 1 to N; A..B."""
    first, _, last = text.rpartition("..")
    return range(int(first or 1), int(last) + 1)


def kinds_of(system, options):
    kinds = [*damages.curves(), *(damages.targeted(system.target) if system.name == "lamina" else [])]
    # More blocks than there are is all of them, which is damaged once.
    kinds = [k for k in kinds if k.blocks // 2 < len(system.target.metadata)]
    if options.only:
        return [k for k in kinds if k.name in options.only or k.group in options.only]
    if options.quick:
        return [k for k in kinds if not k.curve or k.name in QUICK]
    return kinds


def run_system(system, options):
    """All its damages, by all seeds."""
    seeds = ([options.seed] if options.seed is not None
             else range(1, 2) if options.quick else options.seeds)
    done = []
    for kind in kinds_of(system, options):
        trials = [system.try_damage(kind, seed, options.keep) for seed in seeds]
        done.append(report.Kind(kind.group, kind.name, kind.curve, trials))
        say(f"{system.name}: {kind.name}: median {report.size(done[-1].median('lost'))}, worst "
            f"{report.size(done[-1].worst('lost'))} lost; {sum(t.seconds for t in trials):.0f} s")
    return done


def run_all(options, out):
    results, missing = {}, {}
    for name in options.systems:
        folder = Folder(options.dir)
        try:
            say(f"making {name}")
            system = (Lamina(folder.path, options.prepared) if name == "lamina"
                      else SYSTEMS[name](folder.path))
            about = system.describe()
            results[name] = (about, run_system(system, options))
        except Missing as reason:
            missing[name] = str(reason)
        finally:
            folder.close()
    if options.only and results and not any(kinds for _, kinds in results.values()):
        print(f"tools/damage: no damage and no group of them is called {options.only}; a run "
              "without --only names all", file=sys.stderr)
        sys.exit(2)
    for name, reason in missing.items():
        print(f"could not run {name}: {reason}", file=out)
    return results, missing


def merged(results, files):
    """With what earlier runs have found; of a kind that is in both, all its seeds."""
    from .trial import Trial
    for file in files:
        for name, system in json.loads(Path(file).read_text())["systems"].items():
            about, kinds = results.setdefault(name, (system["about"], []))
            by_name = {k.name: k for k in kinds}
            for k in system["kinds"]:
                trials = [Trial(**t) for t in k["trials"]]
                if k["name"] in by_name:
                    by_name[k["name"]].trials += trials
                else:
                    kinds.append(report.Kind(k["group"], k["name"], k["curve"], trials))
    return results


def main():
    options = arguments()
    if os.geteuid() != 0:
        sys.exit("tools/damage: mounts and loops need root")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("tools/damage: stopped"))  # and cleans up
    packages = ["run"] if options.quick else ["run", "damage"]
    subprocess.run([TOP / "tools/packages", "install", *packages], check=True)
    out = sys.stderr if options.json == "-" else sys.stdout
    found, missing = run_all(options, out) if options.seeds else ({}, {})
    results = merged(found, options.merge)
    bad = False
    for name, (about, kinds) in results.items():
        print("\n".join(report.table(name, about, kinds)), file=out)
        for line, trial in report.failures(name, kinds) if name == "lamina" else ():
            print(line, file=out)
            if options.seed is not None:
                print("\n".join(f"    {note}" for note in trial.notes), file=out)
        bad = bad or (name == "lamina" and report.failed(kinds))
    if options.json:
        text = json.dumps(dict(
            machine=dict(kernel=platform.release(), cpus=os.cpu_count()), missing=missing,
            systems={name: dict(about=about, kinds=[k.as_dict() for k in kinds])
                     for name, (about, kinds) in results.items()}), indent=1)
        print(text) if options.json == "-" else Path(options.json).write_text(text + "\n")
    if options.plot:
        files = plot.draw({n: kinds for n, (_, kinds) in results.items()}, Path(options.plot))
        files.append(Path(options.plot) / "damage.md")
        files[-1].write_text("\n".join(report.markdown(results)) + "\n")
        print(f"drawn: {', '.join(map(str, files))}", file=out)
    sys.exit(1 if bad else 0)
