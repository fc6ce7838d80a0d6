// SPDX-License-Identifier: Apache-2.0
#include "engine/heal/healer.h"

#include <algorithm>
#include <string>

#include "engine/heal/segment_parts.h"
#include "engine/maps/read_ahead.h"
#include "engine/pool_state.h"

namespace lamina {
namespace {

constexpr size_t nodes_at_once = 16384;        // more go with the next checkpoint
constexpr size_t nodes_looked_at_a_turn = 16;  // between two chances for others to run

}  // namespace

void Healer::begin() {
  {
    Lock lock(mutex_);
    begun_ = true;
    fixed_places_ = true;
  }
  pool_.start_healing();
}

void Healer::start() {
  {
    Lock lock(mutex_);
    if (!begun_) return;
  }
  pool_.start_healing();
}

void Healer::note_node(NodeId id, const NodeEntry& entry) {
  {
    Lock lock(mutex_);
    nodes_.insert_or_assign(id, entry);
  }
  start();
}

void Healer::note_tables(uint32_t pages) {
  if (pages == 0) return;
  {
    Lock lock(mutex_);
    tables_ += pages;
  }
  start();
}

void Healer::note_segment(Generation generation) {
  {
    Lock lock(mutex_);
    segments_.insert(generation);
  }
  start();
}

bool Healer::has_work() const {
  Lock lock(mutex_);
  return !nodes_.empty() || !node_segments_.empty() || !segments_.empty() || tables_ > 0 ||
         fixed_places_;
}

void Healer::tell(uint64_t count, const std::string& what) {
  if (count == 0) return;
  healed_ += count;
  pool_.settings.log(Settings::Severity::warning, "healed: " + std::to_string(count) +
                                                      " blocks of " + what +
                                                      " were damaged, and have been written anew");
}

std::vector<NodeId> Healer::nodes_to_write(const NodeTable& table) const {
  std::vector<NodeId> out;
  std::set<Generation> segments;
  {
    Lock lock(mutex_);
    for (const auto& [id, entry] : nodes_) {
      const NodeEntry* now = table.find(id);
      if (now && *now == entry) out.push_back(id);
    }
    segments = node_segments_;
  }
  // What is made anew for an inner node goes with it, or before.
  std::ranges::stable_sort(out, {}, [&table](NodeId id) { return table.at(id).level; });
  if (out.size() > nodes_at_once) out.resize(nodes_at_once);
  if (segments.empty()) return out;
  const std::set<NodeId> noted(out.begin(), out.end());
  table.for_each([&](NodeId id, const NodeEntry& entry) {
    const bool lies_there = std::ranges::any_of(
        entry.copies, [&](const Address& copy) { return segments.contains(copy.generation); });
    if (lies_there && out.size() < nodes_at_once && !noted.contains(id)) out.push_back(id);
  });
  return out;
}

// Which of the noted nodes have new places by now, and are to be noted no more.
void Healer::settle_nodes() {
  const ImagePtr image = pool_.newest_image();
  uint64_t written = 0, emptied = 0;
  {
    Lock lock(mutex_);
    written = std::erase_if(nodes_, [&](const auto& item) {
      const NodeEntry* now = image->nodes.find(item.first);
      return !now || *now != item.second;
    });
    std::set<Generation> left;
    const std::set<Generation> segments = node_segments_;
    if (!segments.empty())
      image->nodes.for_each([&](NodeId, const NodeEntry& entry) {
        for (const Address& copy : entry.copies)
          if (segments.contains(copy.generation)) left.insert(copy.generation);
      });
    emptied = node_segments_.size() - left.size();
    node_segments_ = std::move(left);
  }
  tell(written, "maps");
  tell(emptied, "headers and summaries of maps");
}

// By a checkpoint. What it could not write is not tried again before somebody meets it again.
Task<Result<>> Healer::write_nodes() {
  settle_nodes();
  uint32_t tables = 0;
  {
    Lock lock(mutex_);
    if (nodes_.empty() && node_segments_.empty() && tables_ == 0) co_return Result<>{};
    tables = std::exchange(tables_, 0);
  }
  const ImagePtr before = pool_.newest_image();
  const std::vector<NodeId> tried = nodes_to_write(before->nodes);
  LAMINA_CO_TRY(co_await pool_.checkpointer.run(true));
  tell(tables, "a checkpoint's tables");
  settle_nodes();
  {
    Lock lock(mutex_);
    for (const NodeId id : tried)
      if (const auto left = nodes_.find(id);
          left != nodes_.end() && left->second == before->nodes.at(id))
        nodes_.erase(left);
    if (tried.size() < nodes_at_once) node_segments_.clear();
  }
  pool_.nodes.forget_mended(
      [this](NodeId id, const NodeEntry& entry) { return is_kept(id, entry); });
  co_return Result<>{};
}

Task<void> Healer::take(Turn& turn) {
  for (bool mine = false; !mine;) {
    Completion completion;
    {
      Lock lock(turn.mutex);
      mine = !turn.taken;
      turn.taken = true;
      if (!mine) turn.waiting.add(completion);
    }
    if (!mine) co_await completion;
  }
}

void Healer::give(Turn& turn) {
  Lock lock(turn.mutex);
  turn.taken = false;
  turn.waiting.wake_all();
}

Task<void> Healer::work() {
  Task<void> taking = take(writing_);
  co_await taking;
  Task<void> working = work_alone();
  co_await working;
  give(writing_);
}

Task<Result<uint64_t>> Healer::heal_all() {
  LAMINA_CO_TRY(pool_.writable());
  Task<void> taking = take(writing_);
  co_await taking;
  Task<Result<uint64_t>> healing = heal_all_alone();
  Result<uint64_t> healed = co_await healing;
  give(writing_);
  co_return healed;
}

Task<void> Healer::work_alone() {
  const bool fixed = [this] {
    Lock lock(mutex_);
    return std::exchange(fixed_places_, false);
  }();
  Result<> result;
  if (fixed) {
    Task<Result<>> healing = heal_fixed_places();
    result = co_await healing;
  }
  if (result) {
    Task<Result<>> writing = write_nodes();
    result = co_await writing;
  }
  const std::set<Generation> segments = [this] {
    Lock lock(mutex_);
    return std::exchange(segments_, {});
  }();
  for (const Generation generation : segments) {
    if (!result || pool_.closing()) break;
    Task<Result<uint64_t>> healing = heal_segment(generation);
    const Result<uint64_t> healed = co_await healing;
    tell(healed.value_or(0), "headers, checksums and summaries of segments");
  }
  if (result) co_return;
  // The pool is read-only, which others tell, or something else that is met again passes.
  Lock lock(mutex_);
  tables_ = 0;
  nodes_.clear();
  node_segments_.clear();
  segments_.clear();
}

// No image is held for long: what it keeps from coming back somebody may wait for.
Task<void> Healer::look_at_nodes() {
  std::vector<NodeId> all;
  pool_.newest_image()->nodes.for_each([&](NodeId id, const NodeEntry&) { all.push_back(id); });
  for (size_t begin = 0; begin < all.size() && !pool_.closing(); begin += nodes_looked_at_a_turn) {
    const ImagePtr image = pool_.newest_image();
    const size_t end = std::min(all.size(), begin + nodes_looked_at_a_turn);
    for (size_t i = begin; i < end; ++i) {
      const NodeEntry* entry = image->nodes.find(all[i]);
      if (!entry) continue;
      Task<std::array<Result<>, 2>> checking = pool_.nodes.check_copies(all[i], *entry);
      const std::array<Result<>, 2> good = co_await checking;
      if (good[0] && good[1]) continue;
      Task<Result<NodeBlock>> getting = pool_.nodes.get(all[i], *entry, false);
      const Result<NodeBlock> got = co_await getting;  // made again, if need be
      if (!got) continue;
      // From memory: it is not to be pushed out before it has been written.
      if (!good[0] && !good[1]) pool_.nodes.keep_mended(*entry, *got);
      note_node(all[i], *entry);
    }
    co_await Yield{};
  }
}

Task<Result<uint64_t>> Healer::heal_all_alone() {
  LAMINA_CO_TRY(co_await pool_.checkpointer.run());
  const uint64_t before = healed_;
  Task<Result<>> fixing = heal_fixed_places();
  LAMINA_CO_TRY(co_await fixing);
  {
    Task<void> looking = look_at_nodes();
    co_await looking;
  }
  std::set<Generation> named;
  {
    const ImagePtr image = pool_.newest_image();
    named = pool_.checkpointer.tables_segments(image->number);
    image->nodes.for_each([&](NodeId, const NodeEntry& entry) {
      for (const Address& copy : entry.copies) named.insert(copy.generation);
    });
  }
  for (const Segment& segment : pool_.space.segments()) {
    if (pool_.closing()) break;
    if (!segment.is_filled()) continue;
    if (segment.kind == SegmentClass::nodes) {
      if (!named.contains(segment.name.generation)) continue;
      Task<bool> looking = header_names(pool_, segment.name);
      const bool good = co_await looking;
      // One that has come back meanwhile is discarded, and another may begin there: no damage.
      const auto now = pool_.space.segment(segment.name.generation);
      if (good || !now || !now->is_filled()) continue;
      Lock lock(mutex_);
      node_segments_.insert(segment.name.generation);
      continue;
    }
    Task<Result<uint64_t>> healing = heal_segment(segment.name.generation);
    const Result<uint64_t> healed = co_await healing;
    tell(healed.value_or(0), "headers, checksums and summaries of segments");
  }
  Task<Result<>> writing = write_nodes();
  LAMINA_CO_TRY(co_await writing);
  LAMINA_CO_TRY(co_await pool_.log.flush_all_disks(pool_.identity.epoch));
  if (pool_.closing()) co_return fail(Code::busy, "the pool was closed");
  co_return healed_ - before;
}

Task<void> PoolState::heal() {
  while (!closing() && healer.has_work()) {
    Task<void> working = healer.work();
    co_await working;
  }
  {
    Lock lock(background_mutex_);
    healing_started_ = false;
  }
  if (healer.has_work()) start_healing();
}

Task<Result<uint64_t>> Pool::heal_metadata() {
  Task<Result<uint64_t>> healing = state_->healer.heal_all();
  co_return co_await healing;
}

}  // namespace lamina
