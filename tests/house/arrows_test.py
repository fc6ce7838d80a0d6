#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads every #include line and fails on an arrow between folders that runs back up.

The folders and who may know whom are the table below; what is not in it is a failure too, so that a
new folder states its place first. Headers of other projects are held to folders as well: the engine
knows no FUSE, no YAML and no system call.
Usage: arrows_test.py [TOP], or `arrows_test.py --self-test`, which shows that it can fail.
"""

import re
import sys
import tempfile
from pathlib import Path

# A folder may include what its line lists, and itself.
MAY_KNOW = {
    "src/base": [],
    "blobs": ["src/base"],
    "engine/maps": ["blobs", "src/base"],
    "engine": ["engine/maps", "blobs", "src/base"],
    "config": ["src/base"],
    "fuse": ["engine", "engine/maps", "blobs", "src/base"],
    "tools": ["config", "engine", "engine/maps", "blobs", "src/base"],
    "src": ["tools", "fuse", "config", "engine", "engine/maps", "blobs", "src/base"],
}

# Headers of others, and the only folders that may include them.
ONLY_IN = [
    (re.compile(r"fuse3/|fuse(_\w+)?\.h|linux/fuse\.h"), {"fuse"}),
    (re.compile(r"yaml-cpp/"), {"config"}),
    (re.compile(r"liburing"), {"blobs", "fuse"}),
    (re.compile(r"CLI/"), {"src"}),
    (re.compile(r"spdlog/"), {"src"}),
    (re.compile(r"(unistd|fcntl|sched)\.h|sys/|linux/"), {"src/base", "blobs", "fuse", "tools",
                                                          "config", "src"}),
]

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def folder_of(path):
    """The innermost folder of the table that holds this path (relative to the top), or None."""
    for parent in Path(path).parents:
        if str(parent) in MAY_KNOW:
            return str(parent)
    return None


def resolve(top, including, name):
    """The file of this project that an include means, relative to the top; None: another's."""
    for base in (including.parent, top, top / "src"):
        candidate = (base / name).resolve()
        if candidate.is_file() and top in candidate.parents:
            return candidate.relative_to(top)
    return None


def problems_of(top, path):
    own = folder_of(path.relative_to(top))
    if own is None:
        return
    text = path.read_text()
    for match in INCLUDE.finditer(text):
        name = match.group(2)
        where = f"{path.relative_to(top)}:{text.count(chr(10), 0, match.start(2)) + 1}"
        target = resolve(top, path, name)
        if target is None:
            for pattern, folders in ONLY_IN:
                if pattern.match(name) and own not in folders:
                    yield f"{where}: {own} may not know <{name}>"
            continue
        to = folder_of(target)
        if to is None:
            yield f"{where}: {target} lies in no folder of the table in {Path(__file__).name}"
        elif to != own and to not in MAY_KNOW[own]:
            yield f"{where}: the arrow {own} -> {to} runs back up (includes {name})"


def all_problems(top):
    found = []
    for first in sorted({folder.split("/")[0] for folder in MAY_KNOW}):
        for path in sorted((top / first).rglob("*")):
            if path.suffix in (".h", ".cpp"):
                found += problems_of(top, path)
    return found


def self_test():
    """An upward arrow, a foreign header in the engine and a fine file: two problems."""
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder).resolve()
        for name, text in {
                "src/base/units.h": '#pragma once\n',
                "engine/pool.h": '#pragma once\n#include "base/units.h"\n#include <unistd.h>\n',
                "blobs/disk.h": '#pragma once\n#include "base/units.h"\n#include "engine/pool.h"\n',
        }.items():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_text(text)
        found = all_problems(top)
        expected = ["blobs/disk.h:3: the arrow blobs -> engine", "engine/pool.h:3: engine may not"]
        return len(found) == 2 and all(f.startswith(e) for f, e in zip(found, expected))


def main():
    if sys.argv[1:] == ["--self-test"]:
        sys.exit(0 if self_test() else "arrows_test: does not notice an arrow that runs back up")
    top = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2]).resolve()
    found = all_problems(top)
    print("\n".join(found))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
