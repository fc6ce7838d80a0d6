// SPDX-License-Identifier: Apache-2.0
#include "engine/space/moved_aliases.h"

#include <utility>
#include <vector>

#include "engine/lineage.h"
#include "engine/mutation.h"
#include "engine/pool_state.h"
#include "engine/space/moved_writer.h"
#include "engine/space/read_summary.h"

namespace lamina {
namespace {

constexpr size_t homes_known = 32;  // whose statements are kept in memory

}  // namespace

void MovedAliases::add(const Entry& entry, Generation home, NodeId leaf) {
  const Key key{entry.map, entry.begin, entry.begin + entry.length, entry.sequence, home};
  Stated& stated = stated_[key];
  stated.entry = entry;
  stated.leaves.insert(leaf);
}

// What a home that is not being emptied states in the image. It may be the log's own still, of
// which more is to come: a pool that is full could not wait until the log has left it.
Task<Result<const Facts*>> MovedAliases::facts_of(PoolState& pool, Generation home,
                                                  const Image& image) {
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

Task<Result<>> MovedAliases::find(PoolState& pool, const Image& image, const Victim& victim,
                                  std::span<const Referrer* const> referrers) {
  std::map<MapId, std::vector<Sight>> seen;
  for (const Referrer* referrer : referrers) {
    const Extent& extent = referrer->extent;
    if (!extent.alias) continue;
    auto& sees = seen[referrer->map];
    if (sees.empty()) sees = sights(image.lineage, referrer->map);
    Result<const Facts*> facts = &victim.facts();
    if (extent.home != victim.generation()) facts = co_await facts_of(pool, extent.home, image);
    if (!facts) co_return forward_error(facts);
    auto parts = (*facts)->of(extent, sees);
    if (!parts) co_return forward_error(parts);
    for (const Entry& part : *parts) {
      if (part.address != extent.address + (part.begin - extent.begin))
        co_return fail(Code::corrupt, "an alias and its home name different places");
      add(part, extent.home, referrer->leaf);
    }
  }
  co_return Result<>{};
}

Task<Result<>> MovedAliases::restate(MovedWriter& writer, Relocations& moved) const {
  if (mutated(Mutation::forget_aliases)) co_return Result<>{};
  for (const auto& [key, stated] : stated_) {
    Extent extent;
    extent.begin = key.begin;
    extent.end = key.end;
    extent.alias = true;
    extent.address = stated.entry.address;
    const std::vector<Extent> places = moved.places(extent);
    const bool lies_elsewhere = places.size() > 1 || places.front().address != extent.address;
    if (!lies_elsewhere && !emptied_.contains(key.home)) continue;
    for (const Extent& place : places) {
      Entry entry = stated.entry;
      entry.begin = place.begin;
      entry.length = place.length();
      entry.address = place.address;
      auto home = co_await writer.append_fact(entry);
      if (!home) co_return forward_error(home);
      for (const NodeId leaf : stated.leaves)
        moved.add_alias_home(leaf, {place.begin, place.end},
                             stated.entry.address + (place.begin - key.begin), key.home, *home);
    }
  }
  co_return Result<>{};
}

}  // namespace lamina
