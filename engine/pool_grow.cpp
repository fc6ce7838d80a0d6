// SPDX-License-Identifier: Apache-2.0
#include "engine/pool.h"
#include "engine/pool_state.h"

namespace lamina {

JournalBlob::Access PoolState::superblock_access(Epoch epoch) {
  return {.flush = [this, epoch] { return log.flush_all_disks(epoch); },
          .wrote = [this](uint64_t bytes) { counters.add(Cause::superblocks, bytes); }};
}

// What must be durable before what: the blob itself (JournalBlob::grow_to), between checkpoints,
// which write slots at both of its ends; then a slot, whose mark covers the generations that the
// new segments can take (A3), and which names the member as large as it is (A13); only then are
// they free. A crash in between leaves what opening a grown blob finds anyway: more segments than
// its checkpoint knew.
Task<Result<std::vector<GrownBlob>>> Pool::grow(std::string blob) {
  PoolState& s = *state_;
  LAMINA_CO_TRY(s.writable());
  std::vector<GrownBlob> all;
  bool known = blob.empty();
  for (const auto& one : s.blobs) {
    const Superblock& old = one->superblock();
    if (!blob.empty() && old.blob_name != blob) continue;
    known = true;
    auto larger = one->larger();
    if (!larger) co_return forward_error(larger);
    if (!*larger) continue;
    Task<Result<>> growing = s.checkpointer.between(
        [&](Epoch epoch) { return one->grow_to(**larger, s.superblock_access(epoch)); });
    LAMINA_CO_TRY(co_await growing);
    const Superblock& now = one->superblock();
    all.push_back({now.blob_name, one->disk().name(), old.size, now.size, old.segment_count,
                   now.segment_count});
  }
  if (!known) co_return fail(Code::not_found, "the pool has no blob \"" + blob + "\"");
  if (all.empty()) co_return all;
  LAMINA_CO_TRY(co_await s.checkpointer.run(true));
  s.space.grow();
  s.log.space_changed();
  s.start_preparing();
  co_return all;
}

}  // namespace lamina
