// SPDX-License-Identifier: Apache-2.0
// Who may use new space: an upper bound decides quickly (D2), the maps decide where it is close.
#include "engine/pool_state.h"

namespace lamina {

uint64_t PoolState::used_blocks_bound() const {
  return checkpointer.mapped_blocks() + merging_blocks + unmerged_blocks + reserved_blocks +
         space.metadata_blocks();
}

bool PoolState::admits(uint64_t blocks) const {
  return used_blocks_bound() + blocks <= space.capacity_blocks();
}

Task<Result<>> PoolState::admit(ThinMap& map, BlockRange range) {
  if (admits(range.length().value)) co_return Result<>{};
  uint64_t fresh = range.length().value;
  {
    // Not held any longer than this: what it pins could not be freed by the merge below.
    auto resolved = co_await map.resolve(nodes, range, SIZE_MAX);
    if (!resolved) co_return forward_error(resolved);
    for (const Extent& extent : resolved->extents)
      if ((extent.kind == ExtentKind::data && !extent.alias) || extent.reserved)
        fresh -= extent.length().value;
  }
  if (fresh == 0 || admits(fresh)) co_return Result<>{};
  // The bound counts what is not merged as if all of it were new; a merge makes it exact.
  if (merging_blocks + unmerged_blocks > 0) {
    LAMINA_CO_TRY(co_await checkpointer.run());
    if (admits(fresh)) co_return Result<>{};
  }
  co_return fail(Code::no_space, "the pool is full");
}

}  // namespace lamina
