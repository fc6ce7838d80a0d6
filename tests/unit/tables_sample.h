// SPDX-License-Identifier: Apache-2.0
// One full example of a checkpoint's tables, for the tests of the format.
#pragma once

#include "engine/tables.h"

namespace lamina::samples {

inline Tables tables() {
  Tables t;
  t.number = 17;
  t.epoch = 3;
  t.cut = 12345;
  t.next_device = DeviceId{9};
  t.next_map = MapId{12};
  t.next_node = NodeId{400};
  t.next_generation = Generation{77};
  t.next_origin = Generation{first_origin_generation + 9};
  const Generation origin{first_origin_generation + 4};
  t.origins[origin] = {origin, "/srv/images/base.raw", 5 * gib, {6 * gib, 1'700'000'000, 12, 34}};
  t.root.mode = 0755;
  t.root_xattrs["user.note"] = "hello";
  t.epochs = {{1, 0}, {2, 900}};
  DeviceRow d;
  d.id = DeviceId{5};
  d.name = "vm1";
  d.size_bytes = 10 * gib;
  d.attributes.uid = 107;
  d.xattrs["trusted.x"] = std::string(5000, 'v');
  d.last_copy = 850;
  d.origins = {origin};
  d.map = MapId{11};
  d.root = NodeId{399};
  d.mapped_blocks = 1000;
  d.extents = 77;
  t.devices.push_back(d);
  t.lineage.push_back({MapId{11}, MapId{4}, 800, DeviceId{5}});
  t.lost.push_back({DeviceId{5}, "", {DeviceBlock{3}, DeviceBlock{4}}});
  t.suspect.push_back({DeviceId{5}, "", {DeviceBlock{7}, DeviceBlock{70}}});
  t.scrub = {Generation{4}, Generation{9}, 1 << 20, 4096, 1'700'000'000, 1'600'000'000, true};
  t.segment_blocks = {{BlobId{0}, 64}, {BlobId{3}, 2048}};
  Segment s;
  s.name = {BlobId{0}, 6, Generation{70}};
  s.use = SegmentUse::sealed;
  s.kind = SegmentClass::moved;
  s.settled = 12000;
  s.live_blocks = -3;
  s.homes = 2;
  t.segments.push_back(s);
  NodeEntry node;
  node.copies = {Address{Generation{60}, 5}, Address{Generation{61}, 5}};
  node.checkpoint = 16;
  t.nodes.set(NodeId{399}, node);
  return t;
}

}  // namespace lamina::samples
