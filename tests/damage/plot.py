# SPDX-License-Identifier: Apache-2.0
"""The plot, by gnuplot: user bytes lost over bytes damaged, the median and the worst of all seeds."""

import subprocess
from pathlib import Path

FLOOR = 1024  # stands for nothing lost, which has no place on a logarithmic axis
COLOURS = {"lamina": "#1b7837", "dm-thin": "#d73027", "ext4": "#4575b4", "xfs": "#fc8d59",
           "btrfs": "#762a83"}
PANELS = (("metadata", "random blocks of metadata"), ("contiguous", "one contiguous range, anywhere"))
OUTPUTS = {"svg": "svg size 1100,520 font 'sans,13' background 'white'",
           "png": "pngcairo size 1100,520 font 'sans,10'"}


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
                         f"title '{system}, median'")
            lines.append(f"{label} using 1:3 with lines lw 1.5 dt 2 lc rgb '{colour}' "
                         f"title '{system}, worst'")
        if lines:
            lines.append("x with lines lw 1 lc rgb '#999999' title 'lost = damaged'")
            panels.append(f"set title '{title}'\nplot " + ", \\\n  ".join(lines))
    files = []
    for kind, terminal in OUTPUTS.items():
        file = folder / f"{name}.{kind}"
        script = "\n".join([
            f"set terminal {terminal}", f"set output '{file}'", *blocks,
            "set logscale xy 2", "set xlabel 'bytes damaged'", "set ylabel 'user bytes lost'",
            "set format xy '%.0b %BB'", "set xtics 16 rotate by -30", "set yrange [512:*]",
            "set ytics 16", f"set ytics add ('nothing' {FLOOR})", "set grid lc rgb '#dddddd'",
            "set key top left font ',9'",
            f"set multiplot layout 1,{len(panels)}", *panels, "unset multiplot", ""])
        subprocess.run(["gnuplot"], input=script, text=True, check=True)
        files.append(Path(file))
    return files
