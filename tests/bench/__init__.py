# SPDX-License-Identifier: Apache-2.0
"""tools/bench: lamina and its peers, side by side, on the same disk, with fio.

machine.py: processes, mounts, loops, and their end. fio.py: one fio job. contenders.py: the peers.
lamina.py: lamina. report.py: rounds, medians, ratios. rows/: one file for each row of the table.
"""
