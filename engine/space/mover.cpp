// SPDX-License-Identifier: Apache-2.0
#include "engine/space/mover.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <tuple>
#include <utility>

#include "engine/maps/leaf_changes.h"
#include "engine/mutation.h"
#include "engine/pool_state.h"
#include "engine/space/cleaning.h"
#include "engine/space/facts.h"
#include "engine/space/moved_writer.h"
#include "engine/space/read_summary.h"
#include "engine/space/victim.h"

namespace lamina {
namespace {

constexpr uint64_t longest_rest_ns = 50'000'000;
constexpr uint64_t victim_bytes = 64 * mib;  // of victims held in memory at a time
constexpr int64_t alias_entries = 2;         // so much of a summary one statement may take
constexpr size_t homes_known = 32;           // whose statements are kept in memory
// Until victims are tried again whose aliases did not fit what the mover may take.
constexpr uint64_t postponed_checkpoints = 8;

MapId newest_map(PoolState& pool) {
  Lock lock(pool.log.order());
  return pool.devices.next_map();
}

}  // namespace

Mover::Mover(PoolState& pool, Sequence last)
    : pool_(pool),
      low_mark_(pool.space.low_mark()),
      entry_bytes_(
          moved_entry_bytes(newest_map(pool), last, pool.space.largest_segment_blocks())) {}

MovedLayout Mover::layout() const {
  return MovedLayout(pool_.space.segment_blocks(), entry_bytes_);
}

std::set<Generation> Mover::choose(const std::vector<Segment>& candidates, uint32_t widened) const {
  Space& space = pool_.space;
  // What is dead, or seems so, comes back by itself.
  const uint64_t free = space.available(Claim::user);
  uint64_t coming = free;
  for (const Segment& s : space.segments()) {
    const bool seems_dead = s.kind != SegmentClass::nodes && s.live_blocks <= 0 && s.homes <= 0;
    if (s.use == SegmentUse::sealed && (s.dead_in != 0 || seems_dead)) ++coming;
  }
  if (coming >= low_mark_) return {};
  if (pool_.checkpointer.has_moves()) return {};  // the batch before is not published yet
  std::vector<Segment> ready;
  for (const Segment& s : candidates)
    if (s.not_before <= pool_.checkpointer.number()) ready.push_back(s);
  CleaningNeed need{.layout = layout()};
  // Until there is enough again, and as many as their survivors fit what the mover may take.
  need.missing = (low_mark_ + div_up(low_mark_, 2) - coming) * widened;
  need.targets = space.available(Claim::mover);
  need.urgent = free == 0;
  need.newest = space.next_generation();
  return choose_victims(ready, need);
}

// What a batch may have to state anew: the aliases whose data or whose home lies in a victim, each
// part of them that one entry states once, with the leaves that have it.
class Mover::Aliases {
 public:
  struct Key {  // in the order of place
    MapId map = MapId::none;
    DeviceBlock begin{}, end{};
    Sequence sequence = 0;
    Generation home = Generation::none;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  struct Stated {
    Entry entry;
    std::set<NodeId> leaves;
  };

  void add(const Entry& entry, Generation home, NodeId leaf) {
    const Key key{entry.map, entry.begin, entry.begin + entry.length, entry.sequence, home};
    Stated& stated = stated_[key];
    stated.entry = entry;
    stated.leaves.insert(leaf);
  }
  const std::map<Key, Stated>& all() const { return stated_; }
  // The homes in this set are given up.
  std::set<Generation> emptied;

  // What a home that is not being emptied states in the image. It may be the log's own still, of
  // which more is to come: a pool that is full could not wait until the log has left it.
  Task<Result<const Facts*>> facts_of(PoolState& pool, Generation home, const Image& image) {
    if (const auto known = homes_.find(home); known != homes_.end()) co_return &known->second;
    auto entries = pool.log.facts(home, image.cut);
    if (!entries) {
      auto summary = co_await read_summary(pool, home);
      if (!summary) co_return forward_error(summary);
      entries = std::move(summary->entries);
      std::erase_if(*entries, [&](const Entry& entry) { return entry.sequence > image.cut; });
    }
    if (homes_.size() >= homes_known) homes_.clear();
    co_return &homes_.emplace(home, Facts(*entries)).first->second;
  }

 private:
  std::map<Key, Stated> stated_;
  std::map<Generation, Facts> homes_;
};

// The victims in groups that memory may hold.
std::vector<std::set<Generation>> Mover::groups(const std::set<Generation>& victims) const {
  const uint64_t segment = uint64_t{pool_.space.segment_blocks()} * block_size;
  const uint64_t at_once = std::max<uint64_t>(1, victim_bytes / segment);
  std::vector<std::set<Generation>> groups;
  for (const Generation victim : victims) {
    if (groups.empty() || groups.back().size() == at_once) groups.emplace_back();
    groups.back().insert(victim);
  }
  return groups;
}

namespace {

Segment found_in(const WalkResult& walked, Generation generation) {
  Segment row;
  row.name.generation = generation;
  if (const auto found = walked.live.find(raw(generation)); found != walked.live.end()) {
    row.live_blocks = static_cast<int64_t>(found->second.blocks);
    row.homes = static_cast<int64_t>(found->second.homes);
  }
  return row;
}

}  // namespace

std::optional<Mover::Batch> Mover::batch(const std::set<Generation>& chosen,
                                         const WalkResult& walked) const {
  CleaningBatch counted(layout());
  for (const Referrer& referrer : walked.referrers) {
    if (!referrer.extent.alias) continue;
    Segment more;
    more.homes = chosen.contains(referrer.extent.home) ? alias_entries - 1 : alias_entries;
    counted.add(more);
  }
  std::vector<Segment> emptiest;
  for (const Generation generation : chosen) emptiest.push_back(found_in(walked, generation));
  std::stable_sort(emptiest.begin(), emptiest.end(), [](const Segment& x, const Segment& y) {
    return x.live_blocks < y.live_blocks;
  });
  const uint64_t limit = pool_.space.available(Claim::mover);
  Batch batch;
  for (const Segment& victim : emptiest) {
    CleaningBatch more = counted;
    more.add(victim);
    if (more.targets() > limit) break;
    counted = more;
    batch.victims.insert(victim.name.generation);
  }
  const uint64_t targets = counted.targets();
  if (batch.victims.size() <= targets) return std::nullopt;
  batch.gain = batch.victims.size() - targets;
  while (batch.targets.size() < targets) {
    auto permit = pool_.space.permit(Claim::mover);
    if (!permit) return std::nullopt;  // somebody above was faster
    batch.targets.push_back(std::move(*permit));
  }
  return batch;
}

bool Mover::pays(const Batch& batch, const WalkResult& walked) const {
  if (pool_.space.available(Claim::user) == 0) return true;
  uint64_t leaves = 0;
  NodeId last = NodeId::none;
  for (const Referrer& referrer : walked.referrers)  // they come leaf by leaf
    if (std::exchange(last, referrer.leaf) != referrer.leaf) ++leaves;
  return lamina::pays(batch.gain, leaves, pool_.space.segment_blocks());
}

Task<Result<uint64_t>> Mover::move(const Image& image, std::vector<Referrer> referrers,
                                   Batch batch) {
  MovedWriter writer(pool_, std::move(batch.targets), entry_bytes_);
  PendingMoves pending;
  pending.epoch = pool_.identity.epoch;  // before anything is written (A19)
  auto filled = co_await fill(image, referrers, batch.victims, writer, pending.relocations);
  if (!filled) {
    // Nothing is published, so all of it comes back.
    writer.give_up();
    if (filled.error().code != Code::no_space) co_return forward_error(filled);
    for (const Generation victim : batch.victims)
      pool_.space.postpone(victim, image.number + postponed_checkpoints);
    co_return uint64_t{0};
  }
  pending.targets = std::move(*filled);
  targets_ = pending.targets.size();
  pending.victims = std::move(batch.victims);
  for (const Referrer& referrer : referrers)  // they come leaf by leaf
    if (pending.leaves.empty() || pending.leaves.back().leaf != referrer.leaf)
      pending.leaves.push_back({referrer.leaf, referrer.map});
  if (!pending.empty()) pool_.checkpointer.add_moves(std::move(pending));
  co_return writer.moved_bytes();
}

Task<Result<std::vector<Generation>>> Mover::fill(const Image& image,
                                                  const std::vector<Referrer>& referrers,
                                                  const std::set<Generation>& victims,
                                                  MovedWriter& writer, Relocations& moved) {
  Aliases aliases;
  for (const std::set<Generation>& group : groups(victims))
    LAMINA_CO_TRY(co_await move_group(image, referrers, group, writer, moved, aliases));
  moved.sort();
  LAMINA_CO_TRY(co_await restate(aliases, writer, moved));
  co_return co_await writer.finish();
}

// Others want the disk as well. As long as the work took, while there is space enough, and the less
// the less there is.
Task<void> Mover::rest(uint64_t worked_ns) const {
  const uint64_t free = std::min(pool_.space.available(Claim::user), low_mark_);
  const Sleep sleep{std::min(longest_rest_ns, worked_ns) * free / low_mark_};
  if (sleep.duration_ns > 0) co_await sleep;
}

// What the referrers keep in one victim: each block once, and each statement of a fact.
Result<std::vector<Mover::Move>> Mover::moves_of(const Image& image, const Victim& victim,
                                                 std::span<const Referrer* const> referrers) {
  std::vector<Move> moves;
  std::vector<std::pair<uint32_t, uint32_t>> blocks;
  std::map<std::tuple<Sequence, DeviceBlock, DeviceBlock>, size_t> facts;
  std::map<MapId, std::vector<Sight>> seen;
  for (const Referrer* referrer : referrers) {
    const Extent& extent = referrer->extent;
    if (extent.kind == ExtentKind::data) {
      if (extent.address.generation != victim.generation()) continue;  // an alias's home
      const uint32_t begin = extent.address.block;
      blocks.emplace_back(begin, begin + static_cast<uint32_t>(extent.length().value));
      continue;
    }
    auto& sees = seen[referrer->map];
    if (sees.empty()) sees = sights(image.lineage, referrer->map);
    auto parts = victim.facts().of(extent, sees);
    if (!parts) return forward_error(parts);
    for (Entry& e : *parts) {
      const auto [known, fresh] =
          facts.try_emplace({e.sequence, e.begin, e.begin + e.length}, moves.size());
      if (fresh) moves.push_back({{std::move(e), {}, {}, {victim.generation(), 0}}, {}});
      moves[known->second].leaves.push_back(referrer->leaf);
    }
  }
  std::sort(blocks.begin(), blocks.end());
  for (size_t i = 0; i < blocks.size();) {
    const uint32_t begin = blocks[i].first;
    uint32_t end = begin;
    for (; i < blocks.size() && blocks[i].first <= end; ++i) end = std::max(end, blocks[i].second);
    auto pieces = victim.data(begin, end);
    if (!pieces) return forward_error(pieces);
    for (Victim::Piece& piece : *pieces) moves.push_back({std::move(piece), {}});
  }
  return moves;
}

// Before anything of a victim moves: what refers to it by an alias has to be known.
Task<Result<>> Mover::find_aliases(const Image& image, const Victim& victim,
                                   std::span<const Referrer* const> referrers, Aliases& aliases) {
  std::map<MapId, std::vector<Sight>> seen;
  for (const Referrer* referrer : referrers) {
    const Extent& extent = referrer->extent;
    if (!extent.alias) continue;
    auto& sees = seen[referrer->map];
    if (sees.empty()) sees = sights(image.lineage, referrer->map);
    Result<const Facts*> facts = &victim.facts();
    if (extent.home != victim.generation())
      facts = co_await aliases.facts_of(pool_, extent.home, image);
    if (!facts) co_return forward_error(facts);
    auto parts = (*facts)->of(extent, sees);
    if (!parts) co_return forward_error(parts);
    for (const Entry& part : *parts) {
      if (part.address != extent.address + (part.begin - extent.begin))
        co_return fail(Code::corrupt, "an alias and its home name different places");
      aliases.add(part, extent.home, referrer->leaf);
    }
  }
  co_return Result<>{};
}

// After everything has its new place.
Task<Result<>> Mover::restate(const Aliases& aliases, MovedWriter& writer, Relocations& moved) {
  if (mutated(Mutation::forget_aliases)) co_return Result<>{};
  for (const auto& [key, stated] : aliases.all()) {
    Extent extent;
    extent.begin = key.begin;
    extent.end = key.end;
    extent.alias = true;
    extent.address = stated.entry.address;
    const std::vector<Extent> places = moved.places(extent);
    const bool lies_elsewhere = places.size() > 1 || places.front().address != extent.address;
    if (!lies_elsewhere && !aliases.emptied.contains(key.home)) continue;
    for (const Extent& place : places) {
      Victim::Piece piece;
      piece.entry = stated.entry;
      piece.entry.begin = place.begin;
      piece.entry.length = place.length();
      piece.entry.address = place.address;
      piece.from = {key.home, 0};
      auto placed = co_await writer.append(piece);
      if (!placed) co_return forward_error(placed);
      for (const MovedWriter::Placed& part : *placed)
        for (const NodeId leaf : stated.leaves)
          moved.add_home(leaf, part.range, key.home, part.to.generation);
    }
  }
  co_return Result<>{};
}

Task<Result<>> Mover::move_group(const Image& image, const std::vector<Referrer>& referrers,
                                 const std::set<Generation>& group, MovedWriter& writer,
                                 Relocations& moved, Aliases& aliases) {
  std::map<Generation, std::vector<const Referrer*>> by_victim;
  for (const Referrer& referrer : referrers) {
    const Extent& extent = referrer.extent;
    const bool data = extent.kind == ExtentKind::data;
    if (data) by_victim[extent.address.generation].push_back(&referrer);
    if (has_home(extent) && !(data && extent.home == extent.address.generation))
      by_victim[extent.home].push_back(&referrer);
  }
  std::vector<std::unique_ptr<Victim>> loaded;  // what the moves point into
  std::vector<Move> moves;
  for (const Generation generation : group) {
    const uint64_t begin = pool_.settings.background->now_ns();
    const uint64_t used = pool_.counters.used_by_users();
    auto victim = co_await Victim::load(pool_, generation);
    if (pool_.counters.used_by_users() != used)
      co_await rest(pool_.settings.background->now_ns() - begin);
    Result<> known;
    if (victim)
      known = co_await find_aliases(image, **victim, by_victim[generation], aliases);
    else
      known = forward_error(victim);
    Result<std::vector<Move>> of_victim;
    if (known)
      of_victim = moves_of(image, **victim, by_victim[generation]);
    else
      of_victim = forward_error(known);
    if (!of_victim) {
      pool_.space.mark_stuck(generation);
      pool_.settings.log(Settings::Severity::warning,
                         "a segment cannot be emptied: " + of_victim.error().message);
      continue;
    }
    aliases.emptied.insert(generation);
    loaded.push_back(std::move(*victim));
    std::move(of_victim->begin(), of_victim->end(), std::back_inserter(moves));
  }
  // Neighbours of one map come to lie side by side; facts behind all data.
  std::stable_sort(moves.begin(), moves.end(), [](const Move& a, const Move& b) {
    const Entry &x = a.piece.entry, &y = b.piece.entry;
    return std::tuple(a.piece.payload.empty(), x.map, x.begin, x.sequence) <
           std::tuple(b.piece.payload.empty(), y.map, y.begin, y.sequence);
  });
  for (size_t i = 0; i < moves.size();) {
    Victim::Piece piece = moves[i].piece;
    Sequence smallest = piece.entry.sequence;
    size_t end = i + 1;
    while (end < moves.size() &&
           merge_zero(piece.entry, smallest, moves[end].piece.entry, image.lineage))
      ++end;
    auto placed = co_await writer.append(piece);
    if (!placed) co_return forward_error(placed);
    if (!piece.payload.empty())
      for (const MovedWriter::Placed& part : *placed)
        moved.add_data(part.from, static_cast<uint32_t>(part.range.length().value), part.to);
    for (; i < end; ++i) {  // a fact lies in one place
      const Victim::Piece& one = moves[i].piece;
      const BlockRange range{one.entry.begin, one.entry.begin + one.entry.length};
      for (const NodeId leaf : moves[i].leaves)
        moved.add_home(leaf, range, one.from.generation, placed->front().to.generation);
    }
  }
  co_return Result<>{};
}

}  // namespace lamina
