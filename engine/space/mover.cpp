// SPDX-License-Identifier: Apache-2.0
#include "engine/space/mover.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <utility>

#include "engine/maps/leaf_changes.h"
#include "engine/pool_state.h"
#include "engine/space/cleaning.h"
#include "engine/space/facts.h"
#include "engine/space/moved_writer.h"
#include "engine/space/victim_group.h"

namespace lamina {
namespace {

constexpr uint64_t victim_bytes = 32 * mib;  // of a group in memory; two are there at a time
constexpr int64_t alias_entries = 2;         // so much of a summary one statement may take
// Until victims are tried again whose aliases did not fit what the mover may take.
constexpr uint64_t postponed_checkpoints = 8;

MapId newest_map(PoolState& pool) {
  Lock lock(pool.log.order());
  return pool.devices.next_map();
}

}  // namespace

Mover::Mover(PoolState& pool, Sequence last)
    : pool_(pool),
      entry_bytes_(moved_entry_bytes(newest_map(pool), last, pool.space.largest_address_blocks())) {
}

MovedLayout Mover::layout(size_t tier) const {
  return MovedLayout(pool_.space.segment_blocks(tier), entry_bytes_, pool_.space.moved_class(tier));
}

MovePlan Mover::plan(const std::vector<Segment>& candidates, MoveNeed need) const {
  need.entry_bytes = entry_bytes_;
  return plan_moves(pool_, candidates, need);
}

bool Mover::fits_memory(size_t victims, size_t tier) const {
  const uint64_t segment = uint64_t{pool_.space.segment_blocks(tier)} * block_size;
  return victims <= std::max<uint64_t>(1, victim_bytes / segment);
}

bool Mover::reads_ahead(size_t tier) const {
  return uint64_t{pool_.space.segment_blocks(tier)} * block_size <= victim_bytes;
}

// D4: within a tier that is compressed, and from one to another when a blob is emptied. What ages
// is sorted, and compressed as its new tier says.
bool Mover::carries_frames(const MovePlan& plan) const {
  return (plan.policy == MovePolicy::cleaning || plan.policy == MovePolicy::evacuation) &&
         !plan.parts && pool_.space.moved_class(plan.from) == SegmentClass::frames &&
         pool_.space.moved_class(plan.to) == SegmentClass::frames;
}

// What is sorted together. A victim without referrers is dead, whatever the counts said, and need not
// be readable.
std::vector<std::set<Generation>> Mover::groups(const MovePlan& plan,
                                                const ByVictim& by_victim) const {
  if (plan.parts) return {plan.victims};
  // Else all of it is sorted together.
  const bool apart = plan.policy == MovePolicy::cleaning || plan.policy == MovePolicy::evacuation;
  std::vector<std::set<Generation>> groups;
  for (const Generation victim : plan.victims) {
    if (!by_victim.contains(victim)) continue;
    const bool full = apart && !groups.empty() && !fits_memory(groups.back().size() + 1, plan.from);
    if (groups.empty() || full) groups.emplace_back();
    groups.back().insert(victim);
  }
  return groups;
}

namespace {

Segment found_in(const Space& space, const WalkResult& walked, Generation generation) {
  Segment row = space.segment(generation).value_or(Segment{});
  row.name.generation = generation;
  row.live_blocks = row.homes = 0;
  if (const auto found = walked.live.find(raw(generation)); found != walked.live.end()) {
    row.live_blocks = static_cast<int64_t>(found->second.blocks);
    row.homes = static_cast<int64_t>(found->second.homes);
  }
  return row;
}

}  // namespace

std::optional<Mover::Batch> Mover::batch(const MovePlan& plan, const WalkResult& walked) const {
  CleaningBatch counted(layout(plan.to));
  for (const Referrer& referrer : walked.referrers) {
    if (!referrer.extent.alias) continue;
    Segment more;
    more.homes = plan.victims.contains(referrer.extent.home) ? alias_entries - 1 : alias_entries;
    counted.add(more);
  }
  std::vector<Segment> emptiest;
  for (const Generation victim : plan.victims)
    emptiest.push_back(found_in(pool_.space, walked, victim));
  std::stable_sort(emptiest.begin(), emptiest.end(), [](const Segment& x, const Segment& y) {
    return x.live_room() < y.live_room();
  });
  Batch batch;
  batch.plan = plan;
  batch.plan.victims.clear();
  for (const Segment& victim : emptiest) {
    CleaningBatch more = counted;
    more.add(victim);
    if (more.targets() > plan.targets) break;
    counted = more;
    batch.plan.victims.insert(victim.name.generation);
    batch.blocks += static_cast<uint64_t>(victim.live_blocks);
  }
  const uint64_t targets = counted.targets(), victims = batch.plan.victims.size();
  const uint64_t filled = plan.gains_in_place() ? targets : 0;
  if (victims <= filled) return std::nullopt;
  batch.gain = victims - filled;
  while (batch.targets.size() < targets) {
    auto permit = pool_.space.permit(plan.claim(), plan.to);
    if (!permit) return std::nullopt;  // somebody above was faster
    batch.targets.push_back(std::move(*permit));
  }
  return batch;
}

std::optional<Mover::Batch> Mover::batch_of_parts(const MovePlan& plan,
                                                  const WalkResult& walked) const {
  CleaningBatch counted(layout(plan.to));
  Segment all;
  all.live_blocks = static_cast<int64_t>(plan.parts->blocks());
  for (const Referrer& referrer : walked.referrers)
    if (referrer.extent.alias) all.homes += alias_entries;
  counted.add(all);
  Batch batch;
  batch.plan = plan;
  batch.blocks = plan.parts->blocks();
  if (counted.targets() > plan.targets) return std::nullopt;
  while (batch.targets.size() < counted.targets()) {
    auto permit = pool_.space.permit(plan.claim(), plan.to);
    if (!permit) return std::nullopt;  // somebody above was faster
    batch.targets.push_back(std::move(*permit));
  }
  return batch;
}

bool Mover::pays(const Batch& batch, const WalkResult& walked) const {
  if (pool_.space.available(Claim::user, batch.plan.from) == 0) return true;
  uint64_t leaves = 0;
  NodeId last = NodeId::none;
  for (const Referrer& referrer : walked.referrers)  // they come leaf by leaf
    if (std::exchange(last, referrer.leaf) != referrer.leaf) ++leaves;
  return lamina::pays(batch.gain, leaves, pool_.space.segment_blocks(batch.plan.from));
}

Task<Result<uint64_t>> Mover::move(const Image& image, std::vector<Referrer> referrers,
                                   Batch batch) {
  MovedWriter writer(pool_, batch.plan, std::move(batch.targets), entry_bytes_);
  PendingMoves pending;
  pending.epoch = pool_.identity.epoch;  // before anything is written (A19)
  pending.walked = image.cut;
  auto filled = co_await fill(image, referrers, batch.plan, writer, pending.relocations);
  report_bad(referrers);
  if (!filled) {
    // Nothing is published, so all of it comes back.
    co_await writer.give_up();
    if (filled.error().code != Code::no_space) co_return forward_error(filled);
    for (const Generation victim : batch.plan.victims)
      pool_.space.postpone(victim, image.number + postponed_checkpoints);
    co_return uint64_t{0};
  }
  pending.targets = std::move(*filled);
  filled_ = pending.targets;
  pending.victims = std::move(batch.plan.victims);
  pending.whole = batch.plan.parts == nullptr;
  for (const Referrer& referrer : referrers)  // they come leaf by leaf
    if (pending.leaves.empty() || pending.leaves.back().leaf != referrer.leaf)
      pending.leaves.push_back({referrer.leaf, referrer.map});
  if (!pending.empty()) pool_.checkpointer.add_moves(std::move(pending));
  co_return writer.moved_bytes();
}

Mover::ByVictim Mover::sort_by_victim(const std::vector<Referrer>& referrers) {
  ByVictim by_victim;
  for (const Referrer& referrer : referrers) {
    const Extent& extent = referrer.extent;
    const bool data = extent.kind == ExtentKind::data;
    if (data) by_victim[extent.address.generation].push_back(&referrer);
    if (has_home(extent) && !(data && extent.home == extent.address.generation))
      by_victim[extent.home].push_back(&referrer);
  }
  return by_victim;
}

Task<Result<std::vector<Generation>>> Mover::fill(const Image& image,
                                                  const std::vector<Referrer>& referrers,
                                                  const MovePlan& plan, MovedWriter& writer,
                                                  Relocations& moved) {
  const ByVictim by_victim = sort_by_victim(referrers);
  const bool carries = carries_frames(plan);
  const std::vector<std::set<Generation>> all = groups(plan, by_victim);
  MovedAliases aliases;
  std::unique_ptr<VictimGroup> next;
  for (size_t i = 0; i <= all.size(); ++i) {
    const std::unique_ptr<VictimGroup> group = std::move(next);
    if (group) co_await group->read();
    if (i < all.size()) {
      const bool whole = fits_memory(all[i].size(), plan.from) && !carries;
      next = VictimGroup::begin(pool_, all[i],
                                whole ? Victim::Payload::now : Victim::Payload::later,
                                pool_.move_pace.alone() && reads_ahead(plan.from));
    }
    if (!group) continue;
    auto result = co_await move_group(image, by_victim, *group, plan, writer, moved, aliases);
    if (!result) {
      if (next) co_await next->settle();
      co_return forward_error(result);
    }
  }
  moved.sort();
  LAMINA_CO_TRY(co_await aliases.restate(writer, moved));
  co_return co_await writer.finish();
}

// The parts were live in the image that they were chosen by, so the referrers need not be asked.
Result<> Mover::add_parts(const Victim& victim, const MovedParts& parts, Moves& moves) {
  for (const MovedParts::Part& part : parts.of(victim.generation())) {
    auto covered = victim.pieces(part.from.block, part.from.block + part.blocks);
    if (!covered) return forward_error(covered);
    for (MovedPiece& piece : *covered) {
      piece.order = part.order + (piece.from.block - part.from.block);
      moves.pieces.push_back(piece);
    }
  }
  return {};
}

// What the referrers keep in one victim: each block once, and each statement of a fact.
Result<> Mover::add_moves(const Image& image, const Victim& victim,
                          std::span<const Referrer* const> referrers, Moves& moves) {
  std::vector<std::pair<uint32_t, uint32_t>> blocks;
  std::map<std::tuple<Sequence, DeviceBlock, DeviceBlock>, size_t> known_facts;
  std::map<MapId, std::vector<Sight>> seen;
  std::vector<Fact> facts;
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
          known_facts.try_emplace({e.sequence, e.begin, e.begin + e.length}, facts.size());
      if (fresh) facts.push_back({std::move(e), victim.generation(), {}});
      facts[known->second].leaves.push_back(referrer->leaf);
    }
  }
  std::sort(blocks.begin(), blocks.end());
  size_t apart = 0;
  for (const auto& range : blocks) {
    if (apart > 0 && range.first <= blocks[apart - 1].second)
      blocks[apart - 1].second = std::max(blocks[apart - 1].second, range.second);
    else
      blocks[apart++] = range;
  }
  blocks.resize(apart);
  std::vector<CarriedFrame> frames;
  if (moves.carries && victim.has_frames()) {
    auto taken = take_whole_frames(victim, blocks);
    if (!taken) return forward_error(taken);
    frames = std::move(*taken);
  }
  std::vector<MovedPiece> pieces;
  for (const auto& [begin, end] : blocks) {
    auto covered = victim.pieces(begin, end);
    if (!covered) return forward_error(covered);
    pieces.insert(pieces.end(), covered->begin(), covered->end());
  }
  std::move(frames.begin(), frames.end(), std::back_inserter(moves.frames));
  moves.pieces.insert(moves.pieces.end(), pieces.begin(), pieces.end());
  std::move(facts.begin(), facts.end(), std::back_inserter(moves.facts));
  return {};
}

void Mover::leave(Generation victim, const std::string& why) {
  if (!left_.insert(victim).second) return;
  pool_.space.mark_stuck(victim);
  pool_.settings.log(Settings::Severity::warning, "a segment cannot be emptied: " + why);
}

void Mover::leave(const MovedPiece& piece) {
  bad_.push_back(piece);
  leave(piece.from.generation, "what is in it cannot be read, or does not match its checksum");
}

// B6: under the names of those who refer to it.
void Mover::report_bad(const std::vector<Referrer>& referrers) const {
  if (bad_.empty()) return;
  for (const Referrer& referrer : referrers) {
    const Extent& extent = referrer.extent;
    if (!extent.stored()) continue;
    for (const MovedPiece& piece : bad_) {
      const uint64_t begin = std::max(piece.from.block, extent.address.block);
      const uint64_t end = std::min(piece.from.block + uint64_t{piece.blocks},
                                    extent.address.block + extent.length().value);
      if (piece.from.generation != extent.address.generation || begin >= end) continue;
      const DeviceBlock at = extent.begin + BlockCount{begin - extent.address.block};
      pool_.report_unreadable(referrer.map, {at, at + BlockCount{end - begin}});
    }
  }
}

Task<Result<>> Mover::move_group(const Image& image, const ByVictim& by_victim,
                                 VictimGroup& group, const MovePlan& plan, MovedWriter& writer,
                                 Relocations& moved, MovedAliases& aliases) {
  Victims victims;
  Moves moves;
  moves.carries = carries_frames(plan);
  for (auto& [generation, victim] : group.victims()) {
    const auto found = by_victim.find(generation);
    const std::span<const Referrer* const> referrers =
        found == by_victim.end() ? std::span<const Referrer* const>() : found->second;
    Result<> known;
    if (victim)
      known = co_await aliases.find(pool_, image, **victim, referrers);
    else
      known = forward_error(victim);
    if (known)
      known = plan.parts ? add_parts(**victim, *plan.parts, moves)
                         : add_moves(image, **victim, referrers, moves);
    if (!known) {
      leave(generation, known.error().message);
      continue;
    }
    (*victim)->forget_pieces();
    if (!plan.parts) aliases.give_up_homes(generation);
    victims.emplace(generation, std::move(*victim));
  }
  // Some of the blocks of a frame that is damaged may be whole.
  const std::function<void(const CarriedFrame&)> damaged = [&moves](const CarriedFrame& frame) {
    moves.pieces.insert(moves.pieces.end(), frame.pieces.begin(), frame.pieces.end());
  };
  LAMINA_CO_TRY(co_await carry_frames(pool_, std::move(moves.frames), writer, moved, damaged));
  LAMINA_CO_TRY(co_await copy_pieces(std::move(moves.pieces), victims, writer, moved));
  co_return co_await state_facts(moves.facts, image.lineage, writer, moved);
}

// Neighbours of one map come to lie side by side.
Task<Result<>> Mover::copy_pieces(std::vector<MovedPiece> pieces, const Victims& victims,
                                  MovedWriter& writer, Relocations& moved) {
  std::stable_sort(pieces.begin(), pieces.end(), [](const MovedPiece& a, const MovedPiece& b) {
    return std::tie(a.order, a.map, a.begin, a.sequence) <
           std::tie(b.order, b.map, b.begin, b.sequence);
  });
  std::span<const MovedPiece> left = pieces;
  std::unique_ptr<MoveWindow> next = MoveWindow::begin(pool_, left, victims);
  while (next) {
    const std::unique_ptr<MoveWindow> window = std::move(next);
    co_await window->read();
    next = MoveWindow::begin(pool_, left, victims);
    std::vector<MovedPiece> failed;
    Result<> copied = co_await copy_window(*window, writer, moved, failed);
    if (copied) copied = co_await copy_blocks(std::move(failed), victims, writer, moved);
    if (!copied) {
      if (next) co_await next->read();
      co_return copied;
    }
  }
  co_return Result<>{};
}

// Of pieces that failed, every block that is whole.
Task<Result<>> Mover::copy_blocks(std::vector<MovedPiece> pieces, const Victims& victims,
                                  MovedWriter& writer, Relocations& moved) {
  for (const MovedPiece& piece : pieces) {
    for (uint32_t done = 0; done < piece.blocks; ++done) {
      MovedPiece block = piece;
      block.begin = piece.begin + BlockCount{done};
      block.from = piece.from + BlockCount{done};
      block.blocks = 1;
      std::span<const MovedPiece> one(&block, 1);
      const std::unique_ptr<MoveWindow> window = MoveWindow::begin(pool_, one, victims);
      co_await window->read();
      std::vector<MovedPiece> failed;
      LAMINA_CO_TRY(co_await copy_window(*window, writer, moved, failed));
      if (!failed.empty()) leave(block);
    }
  }
  co_return Result<>{};
}

// `failed`: out: what of it cannot be read, or does not match.
Task<Result<>> Mover::copy_window(MoveWindow& window, MovedWriter& writer, Relocations& moved,
                                  std::vector<MovedPiece>& failed) {
  if (!window.result()) {
    if (window.result().error().code != Code::io) co_return window.result();
    failed.assign(window.pieces().begin(), window.pieces().end());
    co_return Result<>{};
  }
  for (const MovedPiece& piece : window.pieces()) {
    const MoveWindow::Payload payload = window.next();
    if (!payload.matches) {
      failed.push_back(piece);
      continue;
    }
    auto placed = co_await writer.append_data(piece, payload.bytes, payload.sums);
    if (!placed) co_return forward_error(placed);
    uint32_t done = 0;
    for (const MovedWriter::Placed& part : *placed) {
      moved.add_data(piece.from + BlockCount{done}, part.blocks, part.to);
      done += part.blocks;
    }
  }
  co_return Result<>{};
}

Task<Result<>> Mover::state_facts(const std::vector<Fact>& unsorted, const Lineage& lineage,
                                  MovedWriter& writer, Relocations& moved) {
  std::vector<const Fact*> facts;
  for (const Fact& fact : unsorted) facts.push_back(&fact);
  std::stable_sort(facts.begin(), facts.end(), [](const Fact* a, const Fact* b) {
    const Entry &x = a->entry, &y = b->entry;
    return std::tie(x.map, x.begin, x.sequence) < std::tie(y.map, y.begin, y.sequence);
  });
  for (size_t i = 0; i < facts.size();) {
    Entry entry = facts[i]->entry;
    Sequence smallest = entry.sequence;
    size_t end = i + 1;
    while (end < facts.size() && merge_zero(entry, smallest, facts[end]->entry, lineage)) ++end;
    auto home = co_await writer.append_fact(entry);
    if (!home) co_return forward_error(home);
    for (; i < end; ++i) {
      const Entry& one = facts[i]->entry;
      for (const NodeId leaf : facts[i]->leaves)
        moved.add_home(leaf, {one.begin, one.begin + one.length}, facts[i]->home, *home);
    }
  }
  co_return Result<>{};
}

}  // namespace lamina
