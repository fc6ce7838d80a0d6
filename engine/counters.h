// SPDX-License-Identifier: Apache-2.0
// Honest counters of what the pool did since it was opened, bytes unless said otherwise.
// Thread-safety: atomics, read one by one.
#pragma once

#include <atomic>
#include <cstdint>

namespace lamina {

struct Counters {
  std::atomic<uint64_t> written_user{0};
  std::atomic<uint64_t> written_log{0};        // records, payload included
  std::atomic<uint64_t> record_headers{0};     // of them headers
  std::atomic<uint64_t> written_nodes{0};      // nodes and tables, both copies
  std::atomic<uint64_t> written_moved{0};      // what the mover wrote
  std::atomic<uint64_t> written_summaries{0};  // summaries, checksums and segment headers
  std::atomic<uint64_t> written_slots{0};
  std::atomic<uint64_t> written_stamps{0};
  std::atomic<uint64_t> flushes{0};            // count
  std::atomic<uint64_t> checkpoints{0};        // count
  std::atomic<uint64_t> survived_failures{0};  // count (A19)
  std::atomic<uint64_t> forks{0};              // steps that forked, of however many devices
  // What such a step took from its request to its place in the log.
  std::atomic<uint64_t> last_fork_ns{0}, longest_fork_ns{0};

  uint64_t written_medium() const {
    return written_log + written_nodes + written_moved + written_summaries + written_slots +
           written_stamps;
  }
};

}  // namespace lamina
