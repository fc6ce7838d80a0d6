// SPDX-License-Identifier: Apache-2.0
#include "engine/log/repeated.h"

#include <algorithm>

#include "blobs/log_mark.h"

namespace lamina {

void RepeatedEntries::note(const Entry& entry) {
  const bool whole = is_repeated(entry);
  if (!whole && entry.kind != EntryKind::fork && entry.kind != EntryKind::attribute) return;
  if (!entries_.empty() && entry.sequence <= entries_.back().entry.sequence) return;
  const size_t bytes = whole ? bytes_in_log_mark(entry) : 0;
  if (!whole || !make_room(bytes)) {
    lacking_ = std::max(lacking_, entry.sequence);
    return;
  }
  bytes_ += bytes;
  entries_.push_back({entry, bytes});
}

bool RepeatedEntries::make_room(size_t bytes) {
  while (bytes_ + bytes > log_mark_room && !entries_.empty() &&
         entries_.front().entry.sequence <= cut_) {
    bytes_ -= entries_.front().bytes;
    entries_.pop_front();
  }
  return bytes_ + bytes <= log_mark_room;
}

void RepeatedEntries::checkpointed(Sequence cut) {
  cut_ = cut;
}

std::vector<Entry> RepeatedEntries::up_to(Sequence through) const {
  std::vector<Entry> out;
  for (const One& one : entries_)
    if (one.entry.sequence <= through) out.push_back(one.entry);
  return out;
}

}  // namespace lamina
