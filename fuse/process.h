// SPDX-License-Identifier: Apache-2.0
// What a process needs that serves the disk its own host may swap or write back to: it must never
// wait for that write-back, be paged out, or be the one that is killed for memory.
// Thread-safety: prepare_process() is called once, before any thread is started.
#pragma once

#include <string>

namespace lamina {

// What could be had; each empty message means yes, otherwise it says why not. Shown by `status`.
struct ProcessStatus {
  int pid = 0;                 // of the daemon, so that `umount` can wait for its end
  bool io_flusher = false;     // PR_SET_IO_FLUSHER: its allocations never wait for I/O
  bool memory_locked = false;  // mlockall: pages stay once touched
  bool oom_protected = false;  // oom_score_adj -1000
  std::string why_not;         // what failed, for a person; empty when all three hold
};

ProcessStatus prepare_process();

}  // namespace lamina
