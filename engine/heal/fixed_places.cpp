// SPDX-License-Identifier: Apache-2.0
// Superblocks and checkpoint slots that are damaged, written again in their places.
#include <optional>
#include <vector>

#include "engine/heal/healer.h"
#include "engine/pool_state.h"

namespace lamina {
namespace {

// False also where it cannot be read: then it is damaged, too.
Task<bool> read_block(Disk& disk, uint64_t offset, std::span<std::byte> into) {
  IoBatch batch;
  batch.read(disk, offset, into);
  co_await batch;
  co_return batch.ok();
}

}  // namespace

Task<Result<>> Healer::heal_superblocks(Epoch epoch, uint64_t& count) {
  Buffer block(block_size);
  for (const auto& blob : pool_.blobs()) {
    if (blob->disk().given_up() || needs_read_only(blob->superblock())) continue;
    uint64_t bad = 0;
    for (const uint64_t offset : blob->superblock_offsets()) {
      Task<bool> reading = read_block(blob->disk(), offset, block.span());
      const bool read = co_await reading;
      const auto copy = unpack_superblock(block.span());
      if (!read || !copy || *copy != blob->superblock()) ++bad;
    }
    if (bad == 0) continue;
    Task<Result<>> writing = blob->write_superblocks(pool_.superblock_access(epoch));
    LAMINA_CO_TRY(co_await writing);
    count += bad;
  }
  co_return Result<>{};
}

// A place of the ring has the same slot twice on every blob. Where it can be read in one of them,
// it is written where it cannot; what nobody can read the ring writes over in time (A13).
Task<Result<>> Healer::heal_slots(uint64_t& count) {
  struct Place {
    Blob* blob;
    uint64_t offset;
  };
  Buffer block(block_size);
  for (CheckpointNumber number = 0; number < slot_ring_length; ++number) {
    std::optional<Slot> newest;
    std::vector<Place> bad;
    const Blobs blobs = pool_.blobs();
    for (const auto& blob : blobs) {
      if (blob->disk().given_up()) continue;
      for (const uint64_t offset : blob->slot_offsets(number)) {
        Task<bool> reading = read_block(blob->disk(), offset, block.span());
        const bool read = co_await reading;
        const bool blank = all_zero(block.span());
        auto slot = unpack_slot(block.span(), pool_.identity.secret, blob->id(),
                                static_cast<uint32_t>(offset / block_size));
        if (read && slot && (!newest || newest->number < slot->number)) newest = std::move(*slot);
        if (!read || (!slot && !blank)) bad.push_back({blob.get(), offset});
      }
    }
    if (!newest || bad.empty()) continue;
    // An error may pass: then the newest slot of all is there again, and stays.
    const CheckpointNumber current = pool_.checkpointer.number();
    if (newest->number != current &&
        newest->number % slot_ring_length == current % slot_ring_length)
      continue;
    IoBatch writes;
    std::vector<Buffer> blocks;
    for (const Place& place : bad) {
      blocks.emplace_back(block_size);
      pack_slot(*newest, pool_.identity.secret, place.blob->id(),
                static_cast<uint32_t>(place.offset / block_size), blocks.back().span());
      writes.write(place.blob->disk(), place.offset, blocks.back().span());
      pool_.counters.add(Cause::healing, block_size);
    }
    co_await writes;
    LAMINA_CO_TRY(writes.result());
    count += bad.size();
  }
  co_return Result<>{};
}

Task<Result<>> Healer::heal_fixed_places() {
  uint64_t superblocks = 0, slots = 0;
  const auto heal = [&](Epoch epoch) -> Task<Result<>> {
    superblocks = slots = 0;
    Task<Result<>> first = heal_superblocks(epoch, superblocks);
    LAMINA_CO_TRY(co_await first);
    Task<Result<>> second = heal_slots(slots);
    LAMINA_CO_TRY(co_await second);
    if (slots == 0) co_return Result<>{};
    co_return co_await pool_.log.flush_all_disks(epoch);
  };
  LAMINA_CO_TRY(co_await pool_.checkpointer.between(heal));
  tell(superblocks, "superblocks");
  tell(slots, "checkpoint slots");
  co_return Result<>{};
}

}  // namespace lamina
