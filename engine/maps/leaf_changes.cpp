// SPDX-License-Identifier: Apache-2.0
#include "engine/maps/leaf_changes.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace lamina {
namespace {

void count_data(LiveCounts& counts, const Extent& e, int64_t sign) {
  if (!e.stored()) return;
  const int64_t blocks = sign * static_cast<int64_t>(e.length().value);
  if (e.alias)
    counts.alias(e.address.generation, blocks);
  else
    counts.data(e.address.generation, blocks);
}
void count_home(LiveCounts& counts, const Extent& e, int64_t change) {
  if (has_home(e)) counts.home(e.home, change);
}

// Walks a leaf's extents while changes cut pieces out of them.
class Remains {
 public:
  explicit Remains(const std::vector<Extent>& extents) : extents_(extents) { load(); }

  bool done() const { return at_ == extents_.size(); }
  const Extent& current() const { return current_; }

  // Everything that ends at or before `block` stays as it is, and what crosses it in part.
  void keep_until(DeviceBlock block, std::vector<Extent>& out, LiveCounts& counts) {
    while (!done() && current_.end <= block) {
      if (cut_) count_home(counts, current_, 1);
      append_extent(out, current_, counts);
      ++at_;
      load();
    }
    if (done() || current_.begin >= block) return;
    const Extent left = clip(current_, current_.begin, block);
    count_home(counts, left, 1);
    append_extent(out, left, counts);
    cut_off(block, counts);
  }
  // Drops what lies before `block`; returns the range that this covered.
  BlockRange drop_until(DeviceBlock block, LiveCounts& counts) {
    BlockRange covered{block, block};
    while (!done() && current_.begin < block) {
      const Extent gone = clip(current_, current_.begin, block);
      covered.begin = std::min(covered.begin, gone.begin);
      covered.end = gone.end;
      count_data(counts, gone, -1);
      if (current_.end > block) {
        cut_off(block, counts);
        break;
      }
      if (!cut_) count_home(counts, current_, -1);
      ++at_;
      load();
    }
    return covered;
  }

 private:
  void load() {
    cut_ = false;
    if (!done()) current_ = extents_[at_];
  }
  // From now on the current extent begins at `block`; its home is counted again when it is kept.
  void cut_off(DeviceBlock block, LiveCounts& counts) {
    if (!cut_) count_home(counts, current_, -1);
    current_ = clip(current_, block, current_.end);
    cut_ = true;
  }

  const std::vector<Extent>& extents_;
  size_t at_ = 0;
  Extent current_{};
  bool cut_ = false;
};

BlockRange hull(BlockRange a, BlockRange b) {
  if (a.empty()) return b;
  if (b.empty()) return a;
  return {std::min(a.begin, b.begin), std::max(a.end, b.end)};
}

// The part of `range` from the first to the last dropped block in it.
BlockRange dropped_part(const DroppedRanges& dropped, BlockRange range) {
  BlockRange part{};
  auto next = dropped.upper_bound(range.begin);
  if (next != dropped.begin()) --next;
  for (; next != dropped.end() && next->first < range.end; ++next) {
    const BlockRange one{std::max(next->first, range.begin), std::min(next->second, range.end)};
    if (!one.empty()) part = hull(part, one);
  }
  return part;
}

}  // namespace

void append_extent(std::vector<Extent>& out, const Extent& e, LiveCounts& counts) {
  if (!out.empty() && continues(out.back(), e)) {
    out.back().end = e.end;
    count_home(counts, e, -1);
  } else {
    out.push_back(e);
  }
}

LayerChange apply_layer(std::vector<Extent>& extents, BlockRange range, const Layer& layer,
                        const DroppedRanges& dropped, LiveCounts& counts) {
  LayerChange result;
  Layer::Cursor cursor(layer);
  cursor.seek(range.begin);
  if (cursor.done() || cursor->begin >= range.end) return result;
  result.appended = extents.empty() || cursor->begin >= extents.back().end;
  std::vector<Extent> out;
  out.reserve(extents.size() + 64);
  Remains remains(extents);
  for (; !cursor.done() && cursor->begin < range.end; cursor.next()) {
    Extent change = clip(*cursor, range.begin, range.end);
    const bool always = change.kind != ExtentKind::zero || change.certain || change.reserved;
    change.certain = false;
    remains.keep_until(change.begin, out, counts);
    const BlockRange covered = remains.drop_until(change.end, counts);
    if (!always) {
      // A zero says something only from the first to the last thing that it hides (F9); where it
      // goes on in a neighbour, up to there, so that the two can become one.
      BlockRange hidden = hull(covered, dropped_part(dropped, change.range()));
      if (hidden.empty()) continue;
      if (cursor->begin < range.begin) hidden.begin = range.begin;
      if (cursor->end > range.end) hidden.end = range.end;
      change = clip(change, hidden.begin, hidden.end);
    }
    count_data(counts, change, 1);
    count_home(counts, change, 1);
    append_extent(out, change, counts);
    result.changed = true;
  }
  remains.keep_until(device_end, out, counts);
  extents = std::move(out);
  return result;
}

bool covered_by_zeroes(const Layer& layer, BlockRange range) {
  Layer::Cursor cursor(layer);
  cursor.seek(range.begin);
  for (DeviceBlock at = range.begin; at < range.end; cursor.next()) {
    if (cursor.done() || cursor->begin > at || cursor->kind != ExtentKind::zero) return false;
    at = cursor->end;
  }
  return true;
}

}  // namespace lamina
