// SPDX-License-Identifier: Apache-2.0
// What a repair doubts (B2), of a scan made by hand.
#include <gtest/gtest.h>

#include <utility>

#include "engine/repair/doubts.h"
#include "engine_pool_fixture.h"

namespace lamina {
namespace {

class DoubtsOfAScan : public PoolOnSimulatedDisk {
 protected:
  // A device in the tables, whose cut is at 10, of 8 blocks.
  DoubtsOfAScan() {
    scan_.has_tables = true;
    scan_.tables.cut = 10;
    DeviceRow row;
    row.id = DeviceId{1};
    row.map = MapId{1};
    row.name = "vm1";
    row.size_bytes = 8 * block_size;
    scan_.tables.devices.push_back(row);
  }
  // The mark tells of it, and no record.
  void add(Entry entry) { scan_.entries.push_back({std::move(entry), 1, ScannedEntry::nowhere}); }
  Doubts doubts(Sequence through) {
    auto rebuilt = wait(Rebuilt::from(std::move(scan_), false));
    EXPECT_TRUE(rebuilt);
    return find_doubts(*rebuilt, {}, through);
  }

  Scan scan_;
  const std::vector<BlockRange> all_{{DeviceBlock{0}, DeviceBlock{8}}};
};

TEST_F(DoubtsOfAScan, AMapIsInDoubtIfNothingTellsOfWhatItWasMadeFrom) {
  Entry rolled_back;
  rolled_back.kind = EntryKind::new_map;
  rolled_back.sequence = 12;  // and 11 was a fork
  rolled_back.device = DeviceId{1};
  rolled_back.map = MapId{3};
  rolled_back.source_map = MapId{2};
  rolled_back.size_bytes = 8 * block_size;
  add(rolled_back);
  const Doubts found = doubts(11);
  ASSERT_TRUE(found.contains(MapId{3}));
  EXPECT_EQ(found.at(MapId{3}), all_);
}

TEST_F(DoubtsOfAScan, AForkInheritsAndWhatIsNewerIsNotInDoubt) {
  Entry fork;
  fork.kind = EntryKind::fork;
  fork.sequence = 12;
  fork.device = DeviceId{2};
  fork.map = MapId{2};
  fork.source_device = DeviceId{1};
  fork.source_map = MapId{1};
  fork.name = "snap";
  add(fork);
  Entry zero;
  zero.kind = EntryKind::zero;
  zero.sequence = 13;
  zero.map = MapId{1};
  zero.begin = DeviceBlock{0};
  zero.length = {8};
  add(zero);
  const Doubts found = doubts(11);
  EXPECT_FALSE(found.contains(MapId{1}));
  ASSERT_TRUE(found.contains(MapId{2}));
  EXPECT_EQ(found.at(MapId{2}), all_);
}

}  // namespace
}  // namespace lamina
