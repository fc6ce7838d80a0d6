// SPDX-License-Identifier: Apache-2.0
#include "engine/space/mover.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <tuple>
#include <utility>

#include "blobs/frame.h"
#include "engine/frame_reader.h"
#include "engine/maps/leaf_changes.h"
#include "engine/pool_state.h"
#include "engine/space/cleaning.h"
#include "engine/space/facts.h"
#include "engine/space/moved_writer.h"

namespace lamina {
namespace {

constexpr uint64_t victim_bytes = 64 * mib;  // of victims held in memory at a time
// Decompressed for what is read at once: 4 times as much.
constexpr uint64_t bytes_a_frame = frame_blocks * block_size / 4;
constexpr int64_t alias_entries = 2;  // so much of a summary one statement may take
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

// What is sorted together.
std::vector<std::set<Generation>> Mover::groups(const MovePlan& plan) const {
  // Else all of it is sorted together.
  const bool apart = plan.policy == MovePolicy::cleaning || plan.policy == MovePolicy::evacuation;
  if (!apart) return {plan.victims};
  std::vector<std::set<Generation>> groups;
  for (const Generation victim : plan.victims) {
    if (groups.empty() || !fits_memory(groups.back().size() + 1, plan.from)) groups.emplace_back();
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
  if (!filled) {
    // Nothing is published, so all of it comes back.
    writer.give_up();
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

Task<Result<std::vector<Generation>>> Mover::fill(const Image& image,
                                                  const std::vector<Referrer>& referrers,
                                                  const MovePlan& plan, MovedWriter& writer,
                                                  Relocations& moved) {
  MovedAliases aliases;
  for (const std::set<Generation>& group : groups(plan))
    LAMINA_CO_TRY(co_await move_group(image, referrers, group, plan, writer, moved, aliases));
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
      if (victim.has_payload() && !victim.matches(piece, victim.payload(piece)))
        return fail(Code::io, "a block does not match its checksum");
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
  std::vector<MovedPiece> pieces;
  std::sort(blocks.begin(), blocks.end());
  for (size_t i = 0; i < blocks.size();) {
    const uint32_t begin = blocks[i].first;
    uint32_t end = begin;
    for (; i < blocks.size() && blocks[i].first <= end; ++i) end = std::max(end, blocks[i].second);
    auto covered = victim.pieces(begin, end);
    if (!covered) return forward_error(covered);
    for (const MovedPiece& piece : *covered)
      if (victim.has_payload() && !victim.matches(piece, victim.payload(piece)))
        return fail(Code::io, "a block does not match its checksum");
    pieces.insert(pieces.end(), covered->begin(), covered->end());
  }
  moves.pieces.insert(moves.pieces.end(), pieces.begin(), pieces.end());
  std::move(facts.begin(), facts.end(), std::back_inserter(moves.facts));
  return {};
}

void Mover::leave(Generation victim, const std::string& why) {
  pool_.space.mark_stuck(victim);
  pool_.settings.log(Settings::Severity::warning, "a segment cannot be emptied: " + why);
}

Task<Result<>> Mover::move_group(const Image& image, const std::vector<Referrer>& referrers,
                                 const std::set<Generation>& group, const MovePlan& plan,
                                 MovedWriter& writer, Relocations& moved, MovedAliases& aliases) {
  const auto payload =
      fits_memory(group.size(), plan.from) ? Victim::Payload::now : Victim::Payload::later;
  std::map<Generation, std::vector<const Referrer*>> by_victim;
  for (const Referrer& referrer : referrers) {
    const Extent& extent = referrer.extent;
    const bool data = extent.kind == ExtentKind::data;
    if (data) by_victim[extent.address.generation].push_back(&referrer);
    if (has_home(extent) && !(data && extent.home == extent.address.generation))
      by_victim[extent.home].push_back(&referrer);
  }
  Victims victims;
  Moves moves;
  for (const Generation generation : group) {
    auto victim = co_await Victim::load(pool_, generation, payload);
    if (payload == Victim::Payload::now)
      pool_.move_pace.note_read(uint64_t{pool_.space.segment_blocks(plan.from)} * block_size);
    if (pool_.move_pace.due()) co_await pool_.move_pace.rest();
    Result<> known;
    if (victim)
      known = co_await aliases.find(pool_, image, **victim, by_victim[generation]);
    else
      known = forward_error(victim);
    if (known)
      known = plan.parts ? add_parts(**victim, *plan.parts, moves)
                         : add_moves(image, **victim, by_victim[generation], moves);
    if (!known) {
      leave(generation, known.error().message);
      continue;
    }
    (*victim)->forget_pieces();
    if (!plan.parts) aliases.give_up_homes(generation);
    victims.emplace(generation, std::move(*victim));
  }
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
  for (size_t begin = 0; begin < pieces.size();) {
    size_t end = begin;
    uint64_t bytes = 0;
    std::set<FrameReader::Name> frames;
    const uint64_t most = pool_.move_pace.window();
    while (end < pieces.size() &&
           (end == begin || (bytes < most && frames.size() * bytes_a_frame < most))) {
      const MovedPiece& piece = pieces[end++];
      bytes += uint64_t{piece.blocks} * block_size;
      if (!victims.at(piece.from.generation)->has_frames()) continue;
      const uint32_t last = (piece.from.block + piece.blocks - 1) / frame_blocks;
      for (uint32_t frame = piece.from.block / frame_blocks; frame <= last; ++frame)
        frames.emplace(piece.from.generation, frame);
    }
    LAMINA_CO_TRY(co_await copy_window(std::span(pieces).subspan(begin, end - begin), victims,
                                       writer, moved));
    begin = end;
  }
  co_return Result<>{};
}

// Pieces that were not in memory: their bytes one behind the other, and what holds those that are
// compressed.
struct Mover::Window {
  Buffer bytes;
  FrameReader frames;

  // Of a piece in frames: its bytes to `into`, its checksums. False: something of it is damaged.
  bool unpack(const MovedPiece& piece, std::span<std::byte> into, std::vector<uint32_t>& sums) {
    sums.clear();
    for (uint32_t i = 0; i < piece.blocks; ++i) {
      const uint32_t block = piece.from.block + i, at = block % frame_blocks;
      const Frame* frame = frames.frame(piece.from.generation, block / frame_blocks);
      if (!frame || at >= frame->blocks() || !frame->good[at]) return false;
      std::memcpy(into.data() + size_t{i} * block_size,
                  frame->data.data() + size_t{at} * block_size, block_size);
      sums.push_back(frame->checksums[at]);
    }
    return true;
  }
};

Task<Result<>> Mover::read_window(std::span<const MovedPiece> pieces, const Victims& victims,
                                  Window& window) {
  uint64_t blocks = 0;
  for (const MovedPiece& piece : pieces) blocks += piece.blocks;
  pool_.move_pace.note_read(blocks * block_size);
  window.bytes = Buffer(blocks * block_size);
  IoBatch batch;
  blocks = 0;
  for (const MovedPiece& piece : pieces) {
    const auto into = window.bytes.blocks(blocks, piece.blocks);
    blocks += piece.blocks;
    if (victims.at(piece.from.generation)->has_frames()) {
      const uint32_t last = (piece.from.block + piece.blocks - 1) / frame_blocks;
      for (uint32_t frame = piece.from.block / frame_blocks; frame <= last; ++frame)
        window.frames.want(piece.from.generation, frame);
      continue;
    }
    const auto at = pool_.space.locate(piece.from);
    if (!at) co_return fail(Code::corrupt, "a segment that is being emptied is gone");
    batch.read(at->blob->disk(), at->offset, into);
  }
  co_await batch;
  LAMINA_CO_TRY(batch.result());
  if (!window.frames.empty()) LAMINA_CO_TRY(co_await window.frames.read(pool_, false));
  co_return Result<>{};
}

Task<Result<>> Mover::copy_window(std::span<const MovedPiece> pieces, const Victims& victims,
                                  MovedWriter& writer, Relocations& moved) {
  const bool in_memory = pieces.empty() || victims.at(pieces[0].from.generation)->has_payload();
  Window window;
  if (!in_memory) LAMINA_CO_TRY(co_await read_window(pieces, victims, window));
  uint64_t blocks = 0;
  std::vector<uint32_t> unpacked;
  for (const MovedPiece& piece : pieces) {
    const Victim& victim = *victims.at(piece.from.generation);
    std::span<const std::byte> payload;
    std::span<const uint32_t> sums;
    bool matches = true;
    if (in_memory) {
      payload = victim.payload(piece);
      sums = victim.checksums(piece);
    } else {
      const auto into = window.bytes.blocks(blocks, piece.blocks);
      payload = into;
      matches = !victim.has_frames() || window.unpack(piece, into, unpacked);
      sums = victim.has_frames() ? unpacked : victim.checksums(piece);
      matches = matches && (victim.has_frames() || victim.matches(piece, payload));
    }
    blocks += piece.blocks;
    if (!matches) {
      leave(piece.from.generation, "a block does not match its checksum");
      continue;
    }
    auto placed = co_await writer.append_data(piece, payload, sums);
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
