// SPDX-License-Identifier: Apache-2.0
#include "engine/repair/restate.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "engine/repair/replay.h"
#include "engine/space/moved_layout.h"
#include "engine/space/moved_writer.h"

namespace lamina {
namespace {

constexpr uint64_t most_facts = 1 << 18;  // some 100 MiB of them, while a repair goes on
constexpr uint64_t room_part = 2;

Task<Result<std::vector<Generation>>> write(MovedWriter& writer, std::vector<ScannedEntry>& facts,
                                            std::vector<Generation>& homes) {
  for (const ScannedEntry& fact : facts) {
    auto appending = writer.append_fact(fact.entry);
    auto home = co_await appending;
    if (!home) co_return forward_error(home);
    homes.push_back(*home);
  }
  auto finishing = writer.finish();
  co_return co_await finishing;
}

}  // namespace

size_t facts_to_restate(const PoolState& pool) {
  const MovedLayout layout(pool.space.segment_blocks());
  const uint64_t room = pool.space.available(Claim::mover) / room_part * layout.facts_alone();
  return std::min(most_facts, room / room_part);  // they may be longer than what is counted on
}

Task<Result<>> restate(PoolState& pool, Scan& scan) {
  std::vector<ScannedEntry> facts;
  for (const ScannedEntry& scanned : scan.entries)
    if (scanned.segment == ScannedEntry::nowhere && states_a_range(scanned.entry))
      facts.push_back(scanned);
  if (facts.empty()) co_return Result<>{};
  const MovePlan plan;
  MovedWriter writer(pool, plan, {}, MovedLayout::most_entry_bytes);
  std::vector<Generation> homes;
  auto writing = write(writer, facts, homes);
  auto filled = co_await writing;
  if (!filled) {
    auto giving_up = writer.give_up();
    co_await giving_up;
    co_return forward_error(filled);
  }
  for (const Generation generation : *filled) {
    pool.space.settle(generation, 1);
    const auto row = pool.space.segment(generation);
    ScannedSegment segment;
    segment.blob = &pool.space.blob(row->name.blob);
    segment.header.blob = row->name.blob;
    segment.header.index = row->name.index;
    segment.header.generation = generation;
    segment.header.kind = row->kind;
    segment.header.state = SegmentState::sealed;
    segment.header.epoch = pool.identity.epoch;
    segment.header.blocks = segment.blob->segment_blocks();
    segment.header.used_end = row->used_blocks;
    scan.by_generation[generation] = scan.segments.size();
    scan.segments.push_back(std::move(segment));
  }
  for (size_t i = 0; i < facts.size(); ++i) {
    facts[i].segment = scan.by_generation.at(homes[i]);
    scan.entries.push_back(std::move(facts[i]));
  }
  co_return Result<>{};
}

}  // namespace lamina
