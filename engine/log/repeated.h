// SPDX-License-Identifier: Apache-2.0
// The newest entries that are worth more than their own blocks, as the mark outside the log repeats
// them (blobs/log_mark.h): a snapshot or a copy would be gone with a few blocks of the log else,
// until a checkpoint has it. They are kept past a checkpoint while there is room, since that one's tables
// may be damaged as well. Those of an earlier life are not here: a checkpoint follows its recovery.
// Thread-safety: the owner's lock.
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include "blobs/entry.h"

namespace lamina {

class RepeatedEntries {
 public:
  // A numbered entry; those of a cut epoch come again, under the same numbers (A19).
  void note(const Entry& entry);
  // A checkpoint up to there is true.
  void checkpointed(Sequence cut);
  // For a mark.
  std::vector<Entry> up_to(Sequence through) const;
  // False: there was no room for one that no checkpoint has, or it cannot be repeated.
  bool complete() const { return lacking_ <= cut_; }

 private:
  bool make_room(size_t bytes);

  struct One {
    Entry entry;
    size_t bytes = 0;
  };
  std::deque<One> entries_;
  size_t bytes_ = 0;
  Sequence cut_ = 0;
  Sequence lacking_ = 0;  // the newest that is not here
};

}  // namespace lamina
