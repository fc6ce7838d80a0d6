// SPDX-License-Identifier: Apache-2.0
// What the engine is told. Defaults that people see live in config/; these are values already
// validated there. Thread-safety: plain values.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "base/executor.h"
#include "base/units.h"
#include "base/workers.h"
#include "blobs/image_disk.h"
#include "engine/space/fullness.h"

namespace lamina {

struct Settings {
  // Memory, bytes.
  uint64_t nodes_bytes = 256 * mib;  // node cache
  uint64_t layers_bytes = 64 * mib;  // changes not merged yet; a checkpoint starts well before
  uint64_t tail_bytes = 64 * mib;    // written but not known to be durable
  uint64_t sums_bytes = 64 * mib;    // cached payload checksums
  uint64_t frames_bytes = 64 * mib;  // cached frames, decompressed
  uint64_t flush_after_ns = 1'000'000'000;
  uint64_t checkpoint_log_bytes = 1 * gib;  // of log, after which a checkpoint starts
  size_t node_fill_bytes = block_size;      // of a node's block, by merges; less: deeper trees
  double reserve_percent = 0;  // of what data can lie in, kept back from users; 7 at least
  bool verify_reads = true;    // else only what the mover carries is verified
  bool read_only = false;      // roll forward in memory, write nothing
  // Blobs that the pool was expected to have and that were not found, by name: why.
  std::map<std::string, std::string> absent;
  bool force = false;  // serve without members of the last session that are absent
  // When data of a blob ages to the next tier: there is less room than that for new data, or the
  // data has been left alone for so long.
  struct Aging {
    double keep_free_percent = 20;  // of what the tier can store
    uint64_t idle_ns = 600'000'000'000;
    friend bool operator==(const Aging&, const Aging&) = default;
  };
  std::map<std::string, Aging> aging;  // by the blob's name; the defaults serve without
  bool promote = false;                // what is read often in a lower tier comes to the one above
  std::map<std::string, int> levels;   // of zstd, of compression blobs, likewise
  enum class Preallocate : uint8_t { reserve, check } preallocate = Preallocate::reserve;
  // Where checkpoints, walks and the mover run, and timers; null: where open() is awaited. Must
  // outlive the pool.
  Executor* background = nullptr;
  // What walks are made and what is aged is compressed by beside it; null: by itself. Outlive the
  // pool too.
  Workers* workers = nullptr;
  // What large reads of users are decompressed by, for which they wait; null: by who reads.
  Workers* readers = nullptr;
  // How external origins are opened, by their paths; null: none are.
  OpenImage open_image;
  // Tells of things a person should see: a damaged superblock copy, a failure that was survived, a
  // pool that turned read-only.
  enum class Severity : uint8_t { info, warning, error };
  std::function<void(Severity, const std::string&)> log = [](Severity, const std::string&) {};
  // The pool has become fuller, or less full, by a step. Must not wait.
  std::function<void(const FullnessWatch::Change&)> on_fullness = [](const FullnessWatch::Change&) {
  };
};

}  // namespace lamina
