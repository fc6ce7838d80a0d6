#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles every header of the project alone; and no first line without its SPDX tag.

Usage: headers_test.py TOP BUILD_FOLDER. The flags are those of the build folder.
"""

import json
import os
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
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        found = [p for p in workers.map(lambda h: compile_alone(h, flags, build), headers) if p]
    found += untagged(top)
    print("\n".join(found))
    print(f"{len(headers)} headers, {len(found)} problems")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
