# SPDX-License-Identifier: Apache-2.0
"""The plot, by gnuplot: user bytes lost over bytes damaged, the median and the worst of all seeds.
"""

import subprocess
from pathlib import Path

from .report import size

FLOOR = 1024  # stands for nothing lost, which has no place on a logarithmic axis
COLOURS = {"lamina": "#1b7837", "dm-thin": "#d73027", "ext4": "#4575b4", "xfs": "#fc8d59",
           "btrfs": "#762a83"}
PANELS = (("metadata", "random blocks of metadata"), ("contiguous", "one contiguous range, anywhere"))
OUTPUTS = {"svg": "svg size 1100,520 font 'sans,13' background 'white'",
           "png": "pngcairo size 1100,520 font 'sans,10'"}


def tics(first, last):
    """Labels of powers of four."""
    return ", ".join(f"'{size(1 << i)}' {1 << i}" for i in range(first, last, 2))


def draw(systems, folder, name="damage"):
    """`systems`: name -> kinds. Returns the files that were made."""
    folder.mkdir(parents=True, exist_ok=True)
    blocks, panels = [], []
    for group, title in PANELS:
        lines = []
        for system, kinds in systems.items():
            points = [k for k in kinds if k.curve and k.group == group]
            if not points:
                continue
            label = f"${system.replace('-', '_')}_{group}"
            rows = "\n".join(f"{k.median('damaged')} {max(FLOOR, k.median('lost'))} "
                             f"{max(FLOOR, k.worst('lost'))}" for k in points)
            blocks.append(f"{label} << EOD\n{rows}\nEOD")
            colour = COLOURS.get(system, "#000000")
            lines.append(f"{label} using 1:2 with linespoints lw 2 pt 7 ps 0.5 lc rgb '{colour}' "
                         f"title '{system}'")
            lines.append(f"{label} using 1:3 with lines lw 1.5 dt 2 lc rgb '{colour}' notitle")
        if lines:
            lines.append("x with lines lw 1 lc rgb '#999999' title 'as much as was damaged'")
            panels.append(f"set title '{title}'\nplot " + ", \\\n  ".join(lines))
    files = []
    for kind, terminal in OUTPUTS.items():
        file = folder / f"{name}.{kind}"
        script = "\n".join([
            f"set terminal {terminal}", f"set output '{file}'", *blocks,
            "set logscale xy", "set xlabel 'bytes damaged'",
            "set ylabel 'user bytes lost: median, dashed the worst'",
            f"set xtics rotate by -35 ({tics(12, 28)})", "set yrange [700:100000000]",
            f"set ytics ('nothing' {FLOOR}, {tics(12, 28)})", "set grid lc rgb '#dddddd'",
            "set key outside below horizontal font ',9'",
            f"set multiplot layout 1,{len(panels)}", *panels, "unset multiplot", ""])
        subprocess.run(["gnuplot"], input=script, text=True, check=True)
        files.append(Path(file))
    return files
