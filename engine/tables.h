// SPDX-License-Identifier: Apache-2.0
// What a checkpoint says besides the maps: devices, node table, segments, epochs, lineage, lost
// ranges. One stream of bytes, cut into pages that describe themselves, written twice in segments
// of class nodes; the slot names the runs, and a scan finds the pages without it (C5).
// Thread-safety: plain values.
#pragma once

#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "blobs/slot.h"
#include "engine/devices.h"
#include "engine/maps/node_table.h"
#include "engine/space/space.h"

namespace lamina {

struct DeviceRow {
  DeviceId id = DeviceId::none;
  std::string name;
  uint64_t size_bytes = 0;
  Attributes attributes;
  std::map<std::string, std::string, std::less<>> xattrs;
  uint64_t created_ns = 0;
  bool read_only = false;
  DeviceId origin = DeviceId::none;
  uint64_t reserved_blocks = 0;
  Sequence last_fork = 0, last_share = 0, last_copy = 0;
  std::set<Generation> origins;
  MapId map = MapId::none;
  NodeId root = NodeId::none;
  uint64_t mapped_blocks = 0, extents = 0;
};

// How far a scrub is: a pass over the segments that there were when it began.
struct ScrubPosition {
  // Of those [next, end) are left; `end` none: no pass is under way.
  Generation next = Generation::none, end = Generation::none;
  uint64_t done_bytes = 0, bad_bytes = 0;  // of that pass, or the newest
  uint64_t began_ns = 0, ended_ns = 0;     // since 1970: that pass; the newest whole one; 0: never
  bool stopped = false;                    // it does not go on by itself

  bool under_way() const { return end != Generation::none; }
  friend bool operator==(const ScrubPosition&, const ScrubPosition&) = default;
};

struct Tables {
  CheckpointNumber number = 0;
  Epoch epoch = 0;
  Sequence cut = 0;
  DeviceId next_device = DeviceId::none;
  MapId next_map = MapId::none;
  NodeId next_node = NodeId::none;
  Generation next_generation = Generation::none;
  Generation next_origin{first_origin_generation};
  std::map<Generation, Origin> origins;
  Attributes root;
  std::map<std::string, std::string, std::less<>> root_xattrs;
  std::vector<EpochCut> epochs;
  std::vector<DeviceRow> devices;
  uint64_t used_blocks = 0;  // of data, at most: what several devices share counts once
  Lineage lineage;
  std::vector<LostRange> lost;     // by device and range; names are looked up
  std::vector<LostRange> suspect;  // likewise (B2)
  ScrubPosition scrub;
  // How many blocks the segments of a member have: its own superblocks say so too, but they are not
  // there when its disk is not. Nothing: an older version wrote these tables.
  std::map<BlobId, uint32_t> segment_blocks;
  std::vector<Segment> segments;
  NodeTable nodes;
};

std::vector<std::byte> pack_tables(const Tables& tables);
// Errors: corrupt; unsupported, a newer version has written it.
Result<Tables> unpack_tables(std::span<const std::byte> bytes);

// One page of the stream.
struct TablesPage {
  CheckpointNumber number = 0;
  Epoch epoch = 0;
  Sequence cut = 0;
  uint32_t index = 0, count = 0;  // of the pages of this stream
  std::span<const std::byte> bytes;
};

extern const size_t tables_page_bytes;  // of the stream in one page

void pack_tables_page(const TablesPage& page, const Secret& secret, const MetadataPlace& place,
                      std::span<std::byte> block);
// `bytes` points into `block`.
Result<TablesPage> unpack_tables_page(std::span<const std::byte> block, const Secret& secret,
                                      const MetadataPlace& place);

}  // namespace lamina
