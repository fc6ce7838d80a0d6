// SPDX-License-Identifier: Apache-2.0
// What the pool has done since it was opened, bytes unless said otherwise. Whoever writes to a disk
// counts it here, under the reason why; what is not counted here was not written.
// Thread-safety: atomics, read one by one.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>

namespace lamina {

// Why something was written to a disk.
enum class Cause : uint8_t {
  payload,         // users' data in the log, some of it twice after a failure (A19)
  record_headers,  // with the entries
  nodes,           // of the maps, both copies, with their segments' headers
  tables,          // of checkpoints, both copies
  moved,           // payload that the mover copied
  summaries,       // summaries, checksums and headers of segments of log and moved data
  slots,           // of checkpoints
  superblocks,     // and what moves with the end of a blob that grows
  stamps,          // of retired segments
  recovery,        // what a crash may have left in a cache, once more
  healing,         // of metadata in place, what was damaged
  zeroes,          // over holes of files, ahead of use
};
inline constexpr size_t cause_count = 12;
inline constexpr std::array<std::string_view, cause_count> cause_names{
    "payload", "record_headers", "nodes",  "tables",   "moved", "summaries",
    "slots",   "superblocks",    "stamps", "recovery", "healing", "zeroes"};

struct Counters {
  std::atomic<uint64_t> written_user{0}, read_user{0};
  std::array<std::atomic<uint64_t>, cause_count> written{};
  std::atomic<uint64_t> discarded{0};          // no writing, but work for a disk
  std::atomic<uint64_t> flushes{0};            // count
  std::atomic<uint64_t> checkpoints{0};        // count
  std::atomic<uint64_t> survived_failures{0};  // count (A19)
  std::atomic<uint64_t> forks{0};              // steps that forked, of however many devices
  // What such a step took from its request to its place in the log.
  std::atomic<uint64_t> last_fork_ns{0}, longest_fork_ns{0};

  uint64_t used_by_users() const { return written_user + read_user; }
  void add(Cause cause, uint64_t bytes) { written[static_cast<size_t>(cause)] += bytes; }
};

}  // namespace lamina
