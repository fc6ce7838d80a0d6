// SPDX-License-Identifier: Apache-2.0
// A pool of which something is destroyed and that is repaired then, or not; and what of it can be
// read.
// Thread-safety: none.
#pragma once

#include <functional>

#include "engine/repair/repair.h"
#include "engine_damage_fixture.h"

namespace lamina {

class ADamagedPool : public PoolWithDamage {
 protected:
  // All slots and nodes; only a rebuild can tell the maps now.
  void destroy_maps() {
    for (const auto& [what, places] : classes())
      if (what == "slot" || what.starts_with("node"))
        for (const Place& place : places) spoil(place);
  }
  Blobs blobs_again() {
    Blobs blobs{blob_on(medium_, *executor_)};
    if (GetParam()) blobs.push_back(blob_on(slow_, *executor_));
    return blobs;
  }
  Result<RepairReport> repair_it(bool accept_suspect = false) {
    Settings settings = settings_;
    settings.log = [](Settings::Severity, const std::string&) {};
    return wait(repair(blobs_again(), settings, accept_suspect));
  }
  // The segments that hold data, sealed ones.
  struct InUse {
    Place at;
    SegmentHeader header;
  };
  std::vector<InUse> segments() {
    std::vector<InUse> out;
    const auto look = [&](SimMedium& medium, const Blob& blob) {
      for (uint32_t index = 0; index < blob.segment_count(); ++index) {
        const Place at{&medium, blob.offset(index, 0)};
        const auto header = unpack_segment_header(MetadataPlaces::read(at).span());
        if (header && header->state == SegmentState::sealed && header->kind != SegmentClass::nodes)
          out.push_back({at, *header});
      }
    };
    look(medium_, *blobs_[0]);
    if (GetParam()) look(slow_, *blobs_[1]);
    return out;
  }
  void destroy(const InUse& segment) {
    const std::vector<std::byte> nothing(uint64_t{segment.header.blocks} * block_size);
    segment.at.medium->damage(segment.at.offset, nothing);
  }
  // Blocks of data, by device, that lie in that segment.
  using Blocks = std::set<std::pair<std::string, uint64_t>>;
  Blocks blocks_of(const std::function<bool(const MappedRange&)>& wanted) {
    Blocks out;
    for (const auto& [name, versions] : devices_) {
      const auto ranges = wait(pool_->map(pool_->find(name)->id, DeviceBlock{0}, SIZE_MAX));
      if (!ranges) continue;
      for (const MappedRange& range : *ranges)
        if (range.state == RangeState::data && wanted(range))
          for (uint64_t b = range.range.begin.value; b < range.range.end.value; ++b)
            out.emplace(name, b);
    }
    return out;
  }
  bool readable(const std::string& name, uint64_t block) {
    std::vector<std::byte> got(block_size);
    return wait(pool_->read(pool_->find(name)->id, block * block_size, got)).has_value();
  }
  std::vector<std::byte> got_of(const std::string& name, uint64_t block) {
    std::vector<std::byte> got(block_size);
    EXPECT_TRUE(wait(pool_->read(pool_->find(name)->id, block * block_size, got)));
    return got;
  }
  uint64_t suspect_bytes() {
    uint64_t bytes = 0;
    for (const LostRange& range : pool_->suspect()) bytes += range.range.length().bytes();
    return bytes;
  }
  // Every block that can be read is what was written last; the result is how many cannot.
  uint64_t unreadable() {
    uint64_t lost = 0;
    std::vector<std::byte> got(block_size);
    for (const auto& [name, versions] : devices_) {
      const auto device = pool_->find(name);
      EXPECT_TRUE(device) << name;
      if (!device) continue;
      for (uint64_t block = 0; block < device_blocks; ++block) {
        const auto read = wait(pool_->read(device->id, block * block_size, got));
        if (!read) {
          EXPECT_EQ(read.error().code, Code::io) << read.error().message;
          ++lost;
          continue;
        }
        const auto found = versions.find(block);
        EXPECT_EQ(got, content(found == versions.end() ? 0 : found->second))
            << name << " block " << block;
        if (HasFailure()) return lost;
      }
    }
    return lost;
  }
};

}  // namespace lamina
