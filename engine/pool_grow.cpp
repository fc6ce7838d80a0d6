// SPDX-License-Identifier: Apache-2.0
#include "engine/pool.h"
#include "engine/pool_state.h"

namespace lamina {
namespace {

Task<Result<>> nothing() {
  co_return Result<>{};
}

}  // namespace

Blob::Access PoolState::superblock_access(Epoch epoch) {
  return {.flush = [this, epoch] { return log.flush_all_disks(epoch); },
          .wrote = [this](uint64_t bytes) { counters.add(Cause::superblocks, bytes); }};
}

// What must be durable before what: the blob itself (Blob::grow_to), between checkpoints,
// which write slots at both of its ends; then a slot, whose mark covers the generations that the
// new segments can take (A3), and which names the member as large as it is (A13); only then are
// they free. A crash in between leaves what opening a grown blob finds anyway: more segments than
// its checkpoint knew.
Task<Result<std::vector<GrownBlob>>> PoolState::grow(std::string blob) {
  Task<Result<std::vector<GrownBlob>>> growing =
      grow_blobs(blobs(), std::move(blob), [this](Blob& one, Superblock larger) -> Task<Result<>> {
        return checkpointer.between(
            [this, &one, larger = std::move(larger)](Epoch epoch) -> Task<Result<>> {
              if (one.disk().given_up()) return nothing();
              return one.grow_to(larger, superblock_access(epoch));
            });
      });
  auto grown = co_await growing;
  if (!grown || grown->empty()) co_return grown;
  LAMINA_CO_TRY(co_await checkpointer.run(true));
  space.grow();
  log.space_changed();
  start_preparing();
  co_return grown;
}

Task<Result<std::vector<GrownBlob>>> Pool::grow(std::string blob) {
  PoolState& s = *state_;
  LAMINA_CO_TRY(s.writable());
  // What a blob that is being added has is not free before its own slot.
  co_await s.members.take_turn();
  Task<Result<std::vector<GrownBlob>>> growing = s.grow(std::move(blob));
  auto grown = co_await growing;
  s.members.give_turn();
  co_return grown;
}

}  // namespace lamina
