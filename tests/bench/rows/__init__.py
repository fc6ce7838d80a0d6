# SPDX-License-Identifier: Apache-2.0
"""The rows of the table, one module each: NAME, and run(bench) which returns a report.Row."""

from . import (bigpool, checkpoint, idle_fsync, jobs, latency, metadata, randread, randwrite,
               sequential, steady, sync_write)

# In the order in which they leave the data of the contenders fit for the next.
ROWS = {row.NAME: row for row in (randread, latency, sequential, randwrite, sync_write, steady,
                                  jobs, checkpoint, idle_fsync, metadata, bigpool)}
