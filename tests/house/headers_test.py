#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every header of the project compiles alone; and no file begins without its SPDX tag.

A header that is the first thing some source of the build includes is compiled alone by the build;
only the others are compiled here.
Usage: headers_test.py TOP BUILD_FOLDER. The flags are those of the build folder.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDERS = ["src", "blobs", "engine", "config", "fuse", "tools", "tests"]
TAG = "SPDX-License-Identifier: Apache-2.0"


def flags_of(build):
    """Includes, definitions and the standard, as the first source of the project has them."""
    entries = json.loads((build / "compile_commands.json").read_text())
    seen = []
    for entry in entries:
        for word in shlex.split(entry["command"]):
            if word.startswith(("-I", "-isystem", "-D", "-std=")) and word not in seen:
                seen.append(word)
    return seen


def proven(top, build):
    """Headers that a source of the build includes before anything else."""
    headers = set()
    for entry in json.loads((build / "compile_commands.json").read_text()):
        source = (Path(entry["directory"]) / entry["file"]).resolve()
        first = re.search(r'^\s*#\s*include\s*(?:"([^"]+)"|<)', source.read_text(), re.M)
        if first and first.group(1):
            for base in (source.parent, top, top / "src"):
                if (base / first.group(1)).is_file():
                    headers.add((base / first.group(1)).resolve())
                    break
    return headers


def compile_alone(header, flags, build):
    # -include of an otherwise empty source: `#pragma once` in a main file would be a warning.
    command = ["g++", *flags, "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-include",
               str(header), "-x", "c++", "/dev/null"]
    result = subprocess.run(command, cwd=build, capture_output=True, text=True)
    return f"{header} does not compile alone:\n{result.stderr}" if result.returncode else None


def untagged(top):
    for folder in FOLDERS:
        for path in sorted((top / folder).rglob("*")):
            if path.suffix in (".h", ".cpp", ".py", ".sh") and path.is_file():
                if TAG not in "".join(path.read_text().splitlines(True)[:2]):
                    yield f"{path} does not begin with its SPDX line"


def main():
    top, build = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    flags = flags_of(build)
    headers = [h for folder in FOLDERS for h in sorted((top / folder).rglob("*.h"))]
    known = proven(top, build)
    alone = [h for h in headers if h not in known]
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        found = [p for p in workers.map(lambda h: compile_alone(h, flags, build), alone) if p]
    found += untagged(top)
    print("\n".join(found))
    print(f"{len(headers)} headers, {len(alone)} of them compiled here, {len(found)} problems")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
