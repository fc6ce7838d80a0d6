// SPDX-License-Identifier: Apache-2.0
// Who may use new space: an upper bound decides quickly (D2), the maps decide where it is close.
#include <algorithm>
#include <optional>

#include "engine/mutation.h"
#include "engine/pool_state.h"

namespace lamina {
namespace {

constexpr int most_walks = 3;  // until a write is refused

}  // namespace

uint64_t PoolState::used_blocks_bound() const {
  return merged_blocks_bound() + merging_blocks + unmerged_blocks;
}

uint64_t PoolState::merged_blocks_bound() const {
  const uint64_t data = checkpointer.used_blocks();
  return data - std::min(data, space.saved_blocks()) + devices.reserved_blocks + space.metadata_blocks();
}

void PoolState::look_at_space(bool refused) {
  const uint64_t size = space.capacity_blocks() * block_size;
  if (const auto change = fullness.look(merged_blocks_bound() * block_size, size, refused))
    settings.on_fullness(*change);
}

bool PoolState::admits(uint64_t blocks) const {
  return used_blocks_bound() + blocks <= space.capacity_blocks();
}

// Promise 4: what a device overwrites of its own needs nothing, nor what it has reserved. What
// others may share with it stays theirs, so its place is new space (A9). The number of the entry
// tells, from what is known of the whole segment or of each entry in it, or a walk that is newer
// than the device's last share.
Task<PoolState::Need> PoolState::need_of(uint64_t range_blocks, std::vector<Extent> extents,
                                         Holder holder) {
  Need need{.fresh = range_blocks};
  uint64_t reserved = 0;
  const auto shared = walker.shared();
  for (const Extent& extent : extents) {
    const uint64_t blocks = extent.length().value;
    if (extent.reserved) reserved += blocks;
    if (!extent.stored() || mutated(Mutation::refuse_overwrites)) continue;
    // D4: a frame goes as a whole, so what is overwritten of one gives nothing back for certain.
    if (space.is_compressed(extent.address.generation)) continue;
    const auto alone = shared ? shared->alone(extent.address, blocks, holder.last_share)
                              : std::optional<uint64_t>{};
    uint64_t own = alone.value_or(0);
    if (!alone && !extent.alias)
      own = space.all_newer(extent.address.generation, holder.last_share)
                ? blocks
                : co_await blocks_newer(extent, holder.last_share);
    need.fresh -= own;
    need.shared += blocks - own;
    if (!alone) need.unknown += blocks - own;
  }
  need.fresh -= std::min({need.fresh, reserved, holder.reserved_blocks});
  co_return need;
}

Task<Result<PoolState::Need>> PoolState::need_of(const Device& device, BlockRange range) {
  const Holder holder = holder_of(device);
  // Not held any longer than this: what it pins could not be freed by a merge. The image stays
  // pinned: its addresses name what they did.
  auto resolved = co_await holder.map->resolve(nodes, range, SIZE_MAX);
  if (!resolved) co_return forward_error(resolved);
  co_return co_await need_of(range.length().value, resolved->extents, holder);
}

// How many blocks of the extent are of newer entries: the log knows them by heart until they are in
// a summary.
Task<uint64_t> PoolState::blocks_newer(Extent extent, Sequence than) {
  const uint64_t begin = extent.address.block, end = begin + extent.length().value;
  if (const auto newer = log.newer_entries(extent.address.generation, begin, end, than))
    co_return *newer;
  auto ages = co_await summaries.ages(*this, extent.address.generation);
  if (!ages) co_return 0;  // unreadable: not known
  co_return (*ages)->newer(begin, end, than);
}

Task<Result<>> PoolState::admit(const Device& device, BlockRange range) {
  if (admits(range.length().value)) co_return Result<>{};
  auto need = co_await need_of(device, range);
  if (!need) co_return forward_error(need);
  if (need->fresh == 0 || admits(need->fresh)) co_return Result<>{};
  // The bound counts what is not merged as if all of it were new; a merge makes it exact. One that
  // is under way may be of what a removal gives back.
  if (merging_blocks + unmerged_blocks > 0 || may_come_back() || checkpointer.running()) {
    LAMINA_CO_TRY(co_await checkpointer.run());
    if (admits(need->fresh)) co_return Result<>{};
  }
  // What several devices shared, or one that is gone had, may be nobody's any more, or this one's
  // alone: a walk knows. The mover may have given it a new place meanwhile.
  for (int walks = 0; walks < most_walks; ++walks) {
    if (maybe_dead_blocks() == 0 && need->unknown == 0) break;
    LAMINA_CO_TRY(co_await reclaimer.measure(need->shared > 0 ? Reclaimer::Wanted::owners
                                                              : Reclaimer::Wanted::used));
    need = co_await need_of(device, range);
    if (!need) co_return forward_error(need);
    if (need->fresh == 0 || admits(need->fresh)) co_return Result<>{};
  }
  look_at_space(true);
  co_return fail(Code::no_space, "the pool is full");
}

PoolState::Holder PoolState::holder_of(const Device& device) {
  Lock order(log.order());
  return {device.map, device.last_share, device.reserved_blocks};
}

bool PoolState::may_come_back() {
  Lock order(log.order());
  return devices.dropped_blocks + devices.erased_blocks > 0;
}

}  // namespace lamina
