// SPDX-License-Identifier: Apache-2.0
// A blob on a disk that has become larger. blob.h says what must be durable before what.
#include "base/buffer.h"
#include "blobs/blob.h"

namespace lamina {

// The second copies of the slots lie at the end, which moves. They are made from the first ones, or
// from the old second ones where a first one is damaged.
Task<Result<>> Blob::copy_slots_to(const Blob& larger, const Access& access) const {
  const Secret& secret = superblock().secret;
  Buffer block(block_size);
  for (CheckpointNumber number = 0; number < slot_ring_length; ++number) {
    for (const uint64_t from : slot_offsets(number)) {
      IoBatch reading;
      reading.read(*disk_, from, block.span());
      co_await reading;
      if (!reading.ok()) continue;
      const auto slot =
          unpack_slot(block.span(), secret, id(), static_cast<uint32_t>(from / block_size));
      if (!slot) continue;
      const uint64_t to = larger.slot_offsets(number)[1];
      pack_slot(*slot, secret, id(), static_cast<uint32_t>(to / block_size), block.span());
      IoBatch writing;
      writing.write(*disk_, to, block.span());
      access.wrote(block_size);
      co_await writing;
      LAMINA_CO_TRY(writing.result());
      break;
    }
  }
  co_return Result<>{};
}

Result<std::optional<Superblock>> Blob::larger() {
  const auto now = disk_->refresh_size();
  if (!now) return std::unexpected(now.error());
  auto superblock = grown(this->superblock(), *now);
  if (!superblock) return forward_error(superblock);
  // Less is not worth moving the end for; and the old end, still to be read, must not overlap the
  // new one.
  if (superblock->segment_count <= segment_count() ||
      superblock->size < this->superblock().size + edge_bytes)
    return std::nullopt;
  return std::move(*superblock);
}

Task<Result<>> Blob::grow_to(Superblock superblock, Access access) {
  if (superblock.size <= this->superblock().size) co_return Result<>{};  // by somebody else
  Blob larger(disk_, superblock);
  {
    // Old marks of others must not be found there, nor old slots.
    Buffer zeroes(edge_bytes);
    zeroes.zero();
    IoBatch clearing;
    clearing.write(*disk_, superblock.size - edge_bytes, zeroes.span());
    access.wrote(edge_bytes);
    co_await clearing;
    LAMINA_CO_TRY(clearing.result());
  }
  Task<Result<>> copying = copy_slots_to(larger, access);
  LAMINA_CO_TRY(co_await copying);
  Task<Result<>> slots = access.flush();
  LAMINA_CO_TRY(co_await slots);
  Task<Result<>> writing = larger.write_superblocks(access);
  LAMINA_CO_TRY(co_await writing);
  take_shape(std::move(superblock));
  co_return Result<>{};
}

Task<Result<std::vector<GrownBlob>>> grow_blobs(Blobs blobs, std::string name, GrowBlob grow) {
  std::vector<GrownBlob> all;
  bool known = name.empty();
  for (const auto& blob : blobs) {
    const Superblock& old = blob->superblock();
    if (!name.empty() && old.blob_name != name) continue;
    known = true;
    if (blob->disk().given_up()) {
      if (name.empty()) continue;
      co_return fail(Code::io,
                     blob->disk().name() + " has failed: it takes no superblock any more");
    }
    auto larger = blob->larger();
    if (!larger) co_return forward_error(larger);
    if (!*larger) continue;
    Task<Result<>> growing = grow(*blob, std::move(**larger));
    LAMINA_CO_TRY(co_await growing);
    const Superblock& now = blob->superblock();
    if (now.size == old.size) continue;  // its disk has failed meanwhile
    all.push_back({now.blob_name, blob->disk().name(), old.size, now.size, old.segment_count,
                   now.segment_count});
  }
  if (!known)
    co_return fail(Code::not_found, "the pool \"" + blobs.front()->superblock().pool_name +
                                        "\" has no blob \"" + name + "\"");
  co_return all;
}

}  // namespace lamina
