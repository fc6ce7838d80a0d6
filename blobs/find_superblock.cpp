// SPDX-License-Identifier: Apache-2.0
// Blob::find: from a disk to its superblock, whichever of the copies are left.
#include <algorithm>
#include <optional>

#include "base/buffer.h"
#include "blobs/blob.h"

namespace lamina {
namespace {

// Reads copies of one disk and remembers what was wrong with the bad ones.
class CopyReader {
 public:
  explicit CopyReader(Disk& disk) : disk_(disk), block_(block_size) {}

  // Nothing: no good copy is there.
  Task<std::optional<Superblock>> read(uint64_t offset) {
    std::optional<Superblock> good;
    if (offset % block_size != 0 || offset > disk_.size() || disk_.size() - offset < block_size)
      co_return good;
    IoBatch batch;
    batch.read(disk_, offset, block_.span());
    co_await batch;
    if (!batch.ok()) {
      Result<> failed = batch.result();
      note(failed.error());
      co_return good;
    }
    Result<Superblock> superblock = unpack_superblock(block_.span());
    if (superblock) {
      good = std::move(*superblock);
    } else {
      note(superblock.error());
    }
    co_return good;
  }

  // Why there is none, when there is none.
  const Error& worst() const { return worst_; }

 private:
  // A newer format says most of what the disk is, no magic at all the least.
  static int weight(Code code) {
    switch (code) {
      case Code::unsupported:
        return 3;
      case Code::corrupt:
        return 2;
      case Code::io:
        return 1;
      default:
        return 0;
    }
  }
  void note(const Error& error) {
    if (weight(error.code) > weight(worst_.code)) worst_ = error;
  }

  Disk& disk_;
  Buffer block_;
  Error worst_{Code::not_found, "no lamina superblock"};
};

// Where the middle copy may be when neither end tells: what format would have chosen.
std::vector<uint64_t> plausible_middles(const Disk& disk) {
  std::vector<uint64_t> middles;
  const DiskTraits& traits = disk.traits();
  for (const uint32_t erase : {block_size, traits.discard_granularity, traits.optimal_io_bytes}) {
    const auto geometry = Blob::plan(disk.size(), 0, erase);
    if (!geometry) continue;
    if (std::find(middles.begin(), middles.end(), geometry->middle) == middles.end())
      middles.push_back(geometry->middle);
  }
  return middles;
}

bool same(const Superblock& a, const Superblock& b) {
  return a.pool == b.pool && a.blob_uuid == b.blob_uuid;
}

struct Copies {
  Superblock superblock;
  uint32_t of_this_blob = 0, equal = 0;
};

// A misdirected write may have put another blob's copy over one of this: which blob it is, most
// copies say.
Task<Copies> count_copies(CopyReader& reader, Superblock superblock) {
  Copies copies;
  Layout layout;
  layout.size = superblock.size;
  layout.middle = superblock.middle;
  for (const uint64_t offset : layout.superblock_offsets()) {
    const std::optional<Superblock> copy = co_await reader.read(offset);
    if (!copy) continue;
    copies.of_this_blob += same(*copy, superblock);
    copies.equal += *copy == superblock;
  }
  copies.superblock = std::move(superblock);
  co_return copies;
}

Error about(const Disk& disk, const Error& error) {
  return Error{error.code, disk.name() + ": " + error.message};
}

}  // namespace

Task<Result<Blob::Found>> Blob::find(Disk& disk) {
  CopyReader reader(disk);
  std::vector<Superblock> candidates;  // of each blob that a copy names the first
  const auto take = [&](const std::optional<Superblock>& copy) {
    if (copy && std::ranges::none_of(candidates, [&](const auto& one) { return same(one, *copy); }))
      candidates.push_back(*copy);
  };
  std::optional<Superblock> copy = co_await reader.read(0);
  take(copy);
  if (copy || reader.worst().code != Code::unsupported) {
    copy = co_await reader.read(spare_superblock_offset);
    take(copy);
    copy = co_await reader.read(round_down(disk.size(), block_size) - block_size);
    take(copy);
    const std::vector<uint64_t> middles = plausible_middles(disk);
    for (size_t i = 0; candidates.empty() && i < middles.size(); ++i) {
      copy = co_await reader.read(middles[i]);
      take(copy);
    }
  }
  if (candidates.empty()) co_return std::unexpected<Error>(about(disk, reader.worst()));
  Copies most;
  for (Superblock& candidate : candidates) {
    Task<Copies> counting = count_copies(reader, std::move(candidate));
    Copies copies = co_await counting;
    if (copies.of_this_blob > most.of_this_blob) most = std::move(copies);
  }
  if (most.superblock.size > disk.size())
    co_return fail(Code::corrupt, disk.name() + ": has " + std::to_string(disk.size()) +
                                      " bytes, but the blob on it has " +
                                      std::to_string(most.superblock.size) +
                                      ": it was cut short, or this is a part of it");
  Found found;
  found.superblock = std::move(most.superblock);
  found.damaged = uint32_t{superblock_copies} - most.equal;
  co_return found;
}

}  // namespace lamina
