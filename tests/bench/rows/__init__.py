# SPDX-License-Identifier: Apache-2.0
"""The rows of the table, one module each: NAME, and run(bench) which returns a report.Row."""

from . import (aged, aging_pace, bigpool, checkpoint, cleaning, compressed, compression, evacuate,
               idle_fsync, jobs, latency, metadata, randread, randwrite, rebuild, removal, scrub,
               sequential, share, snapshot_stream, snapshot_time, snapshot_write, space, steady,
               sync_write, two_disks, verify, walk)

# In the order in which they leave the data of the contenders fit for the next.
ROWS = {row.NAME: row for row in (randread, latency, sequential, randwrite, sync_write,
                                  snapshot_write, steady, jobs, checkpoint, idle_fsync, metadata,
                                  snapshot_stream, share, removal, aged, compressed, space,
                                  compression, aging_pace, evacuate, two_disks, scrub, verify,
                                  cleaning, snapshot_time, bigpool, walk, rebuild)}
