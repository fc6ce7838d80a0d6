// SPDX-License-Identifier: Apache-2.0
// Whether a leaf that was found says of its range what summaries and records say.
// Thread-safety: plain values.
#pragma once

#include <map>
#include <span>
#include <unordered_map>
#include <utility>

#include "engine/maps/extent.h"
#include "engine/rebuild_scan.h"

namespace lamina {

// Which entry wrote what lies at an address, so that an entry's data is known again where it was
// moved to.
class WrittenBy {
 public:
  explicit WrittenBy(const Scan& scan);
  // Whether the block at both is that of the same entry; or both are one address.
  bool same(Address a, Address b) const;

 private:
  struct Run {
    uint32_t end = 0;
    Sequence sequence = 0;
    MapId map = MapId::none;
    DeviceBlock begin{};  // in the map
  };
  struct Writer {
    Sequence sequence = 0;
    MapId map = MapId::none;
    DeviceBlock block{};
    friend bool operator==(const Writer&, const Writer&) = default;
  };
  Writer find(Address address) const;
  std::unordered_map<uint32_t, std::map<uint32_t, Run>> runs_;  // by generation, first block
};

// Of two lists of extents in order, over one range: what both read as. A zero is what was never
// written.
bool same_content(BlockRange range, std::span<const Extent> a, std::span<const Extent> b,
                  const WrittenBy& written);

}  // namespace lamina
