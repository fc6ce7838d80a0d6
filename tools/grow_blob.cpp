// SPDX-License-Identifier: Apache-2.0
#include "tools/grow_blob.h"

#include <memory>

#include "base/buffer.h"
#include "blobs/journal_blob.h"
#include "blobs/layout.h"
#include "blobs/slot.h"
#include "tools/open_pool.h"

namespace lamina {
namespace {

// The second copies of the checkpoint slots lie at the end, which moves. They are made from the
// first ones, or from the old second ones where a first one is damaged.
Task<Result<>> move_slots(const JournalBlob& old_blob, const JournalBlob& new_blob) {
  const Secret& secret = old_blob.superblock().secret;
  Buffer block(block_size);
  for (CheckpointNumber number = 0; number < slot_ring_length; ++number) {
    for (const uint64_t from : old_blob.slot_offsets(number)) {
      {
        IoBatch batch;
        batch.read(old_blob.disk(), from, block.span());
        co_await batch;
        if (!batch.ok()) continue;
      }
      const auto slot = unpack_slot(block.span(), secret, old_blob.id(),
                                    static_cast<uint32_t>(from / block_size));
      if (!slot) continue;
      const uint64_t to = new_blob.slot_offsets(number)[1];
      pack_slot(*slot, secret, new_blob.id(), static_cast<uint32_t>(to / block_size), block.span());
      IoBatch batch;
      batch.write(new_blob.disk(), to, block.span());
      co_await batch;
      LAMINA_CO_TRY(batch.result());
      break;
    }
  }
  IoBatch batch;
  batch.flush(new_blob.disk());
  co_await batch;
  co_return batch.result();
}

// Old marks of others at the new end must not be found there, nor old slots.
Task<Result<>> clear_new_end(const JournalBlob& blob) {
  Buffer zeroes(edge_bytes);
  zeroes.zero();
  IoBatch batch;
  batch.write(blob.disk(), blob.superblock().size - edge_bytes, zeroes.span());
  co_await batch;
  co_return batch.result();
}

Task<Result<>> grow(JournalBlob& blob, Superblock larger) {
  // Both have the disk; this one only for as long as the blob that owns it is there.
  const std::shared_ptr<Disk> disk(&blob.disk(), [](Disk*) {});
  JournalBlob grown(disk, std::move(larger));
  Task<Result<>> clearing = clear_new_end(grown);
  LAMINA_CO_TRY(co_await clearing);
  Task<Result<>> moving = move_slots(blob, grown);
  LAMINA_CO_TRY(co_await moving);
  // This is what makes it true.
  Task<Result<>> writing = grown.write_superblocks();
  co_return co_await writing;
}

}  // namespace

Task<Result<std::vector<GrownBlob>>> grow_blobs(PoolConfig config, std::string name) {
  Task<Result<OpenedBlobs>> opening = open_blobs(config, false);
  auto opened = co_await opening;
  if (!opened) co_return forward_error(opened);
  std::vector<GrownBlob> all;
  bool known = name.empty();
  for (const auto& blob : opened->blobs) {
    const Superblock& now = blob->superblock();
    if (!name.empty() && now.blob_name != name) continue;
    known = true;
    auto larger = JournalBlob::grown(now, blob->disk().size());
    if (!larger) co_return forward_error(larger);
    // Less is not worth moving the end for; and the old end, still to be read, must not overlap
    // the new one.
    if (larger->segment_count <= now.segment_count || larger->size < now.size + edge_bytes)
      continue;
    GrownBlob grown{now.blob_name, blob->disk().name(), now.size,
                    larger->size,  now.segment_count,   larger->segment_count};
    Task<Result<>> growing = grow(*blob, std::move(*larger));
    LAMINA_CO_TRY(co_await growing);
    all.push_back(std::move(grown));
  }
  if (!known)
    co_return fail(Code::not_found,
                   "the pool \"" + opened->pool_name + "\" has no blob \"" + name + "\"");
  if (all.empty())
    co_return fail(Code::invalid,
                   "nothing has grown: enlarge the file (`truncate -s +10G FILE`) or "
                   "the partition first");
  co_return all;
}

}  // namespace lamina
