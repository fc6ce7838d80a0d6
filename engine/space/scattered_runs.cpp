// SPDX-License-Identifier: Apache-2.0
#include "engine/space/scattered_runs.h"

#include <algorithm>
#include <utility>

namespace lamina {
namespace {

// Blocks between two extents of one run: what has died there, or a frame that was not full.
constexpr uint64_t small_gap = 64;

}  // namespace

bool ScatteredRuns::continues_run(const Extent& extent, bool may_move) const {
  return run_blocks_ > 0 && may_move == run_moves_ &&
         extent.address.generation == run_end_.generation &&
         extent.address.block >= run_end_.block &&
         extent.address.block - run_end_.block <= small_gap;
}

bool ScatteredRuns::full() const {
  return chosen_blocks_ + sequence_blocks_ >= need_.most_blocks ||
         chosen_.count() + sequence_.size() >= need_.most_parts ||
         segments_.size() >= need_.most_segments;
}

bool ScatteredRuns::add(const Extent& extent, bool may_move) {
  if (!continues_run(extent, may_move)) {
    end_run();
    if (full()) return false;
  }
  run_moves_ = may_move;
  run_blocks_ += extent.length().value;
  run_end_ = extent.address + extent.length();
  if (may_move && run_blocks_ < need_.long_run)
    run_.push_back(
        {extent.address, static_cast<uint32_t>(extent.length().value), extent.begin.value});
  else
    run_.clear();
  return true;
}

void ScatteredRuns::end_run() {
  if (run_blocks_ == 0) return;
  if (run_.empty()) {
    end_sequence();
  } else {
    for (const MovedParts::Part& part : run_) segments_.insert(part.from.generation);
    sequence_.insert(sequence_.end(), run_.begin(), run_.end());
    sequence_blocks_ += run_blocks_;
    ++sequence_runs_;
  }
  run_.clear();
  run_blocks_ = 0;
}

void ScatteredRuns::end_sequence() {
  const uint64_t fewest = 1 + sequence_blocks_ / std::max<uint64_t>(1, need_.payload);
  if (sequence_runs_ > fewest) {
    for (const MovedParts::Part& part : sequence_) chosen_.add(part);
    chosen_blocks_ += sequence_blocks_;
  }
  sequence_.clear();
  sequence_blocks_ = sequence_runs_ = 0;
}

MovedParts ScatteredRuns::take() {
  end_run();
  end_sequence();
  chosen_.finish();
  segments_.clear();
  chosen_blocks_ = 0;
  return std::exchange(chosen_, {});
}

}  // namespace lamina
