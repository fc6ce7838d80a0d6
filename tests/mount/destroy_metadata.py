#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# destroy_metadata.py IMAGE [header|segment|segment-alone|homes|leaves]: noise over every superblock, slot
# and node of a blob, and with them all else in its first and last MiB; and over the header of a segment
# of the log, or all of it, or (segment-alone) over that and nothing else. With `homes` over nothing but
# the headers of all segments of nodes, with `leaves` over both copies of all leaves alone. Prints how
# many blocks of what.
import os
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from damage.medium import BLOCK, EDGE, LOG, NODES, SEALED, Medium  # noqa: E402

medium = Medium(Path(sys.argv[1]))
doomed = {name: medium.classes[name] for name in ("superblock", "slot")}
doomed["node"] = [at for name in ("leaf", "inner node") for at in medium.classes.get(name, [])]
if "homes" in sys.argv:
    doomed = {"header": [s.at for s in medium.segments if s.kind == NODES]}
if "segment-alone" in sys.argv:
    doomed = {}
if "leaves" in sys.argv:
    doomed = {"node": medium.classes["leaf"]}
log = next((s for s in medium.segments if (s.kind, s.state) == (LOG, SEALED)), None)

with open(sys.argv[1], "r+b") as image:

    def spoil(at, length=BLOCK):
        image.seek(at)
        image.write(os.urandom(length))

    for places in doomed.values():
        for place in places:
            spoil(place)
    if not {"homes", "leaves", "segment-alone"} & set(sys.argv):
        spoil(0, EDGE)
        spoil(medium.size - EDGE, EDGE)
    if "header" in sys.argv:
        spoil(log.at)
    if {"segment", "segment-alone"} & set(sys.argv):
        spoil(log.at, log.blocks * BLOCK)
print(", ".join(f"{len(places)} {name}{'' if len(places) == 1 else 's'}"
                for name, places in doomed.items()))
