// SPDX-License-Identifier: Apache-2.0
// Where the metadata of a pool lies on simulated media, by what it is: for tests that destroy some.
// Thread-safety: none. Ownership: media and blobs outlive it.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/buffer.h"
#include "blobs/blob.h"
#include "blobs/record.h"
#include "blobs/segment.h"
#include "blobs/sim_medium.h"
#include "blobs/summary.h"
#include "engine/maps/node.h"
#include "engine/tables.h"

namespace lamina {

class MetadataPlaces {
 public:
  struct Place {
    SimMedium* medium = nullptr;
    uint64_t offset = 0;
  };
  using Classes = std::map<std::string, std::vector<Place>>;
  struct FoundNode {
    NodeHeader header;
    std::vector<Place> places;
  };

  void add(SimMedium& medium, const Blob& blob) { disks_.emplace_back(&medium, &blob); }

  // Every node that lies in a segment that is in use, the newest version of each.
  std::map<NodeId, FoundNode> nodes() const {
    std::map<NodeId, FoundNode> out;
    for_each_segment([&](const Segment& segment) {
      const SegmentHeader& header = segment.header;
      if (header.kind != SegmentClass::nodes) return;
      for (uint32_t at = 1; at < header.blocks; ++at) {
        const Buffer block = read(segment.at(at));
        if (!verify_node(block.span(), header.secret, segment.place(at))) continue;
        const NodeHeader node = NodeView(block.span()).header();
        FoundNode& found = out[node.id];
        if (found.header.checkpoint > node.checkpoint) continue;
        if (found.header.checkpoint < node.checkpoint) found.places.clear();
        found.header = node;
        found.places.push_back(segment.at(at));
      }
    });
    return out;
  }

  // The pages of each checkpoint's tables, by their place in the stream.
  std::map<CheckpointNumber, std::map<uint32_t, std::vector<Place>>> tables() const {
    std::map<CheckpointNumber, std::map<uint32_t, std::vector<Place>>> out;
    for_each_segment([&](const Segment& segment) {
      const SegmentHeader& header = segment.header;
      if (header.kind != SegmentClass::nodes) return;
      for (uint32_t at = 1; at < header.blocks; ++at) {
        const Buffer block = read(segment.at(at));
        if (const auto page = unpack_tables_page(block.span(), header.secret, segment.place(at)))
          out[page->number][page->index].push_back(segment.at(at));
      }
    });
    return out;
  }

  // All that has a second copy, or is told by something else. Records of the log that no summary
  // repeats are `record`.
  Classes classes() const {
    Classes out;
    for (const auto& [medium, blob] : disks_) {
      for (const uint64_t offset : blob->superblock_offsets())
        out["superblock"].push_back({medium, offset});
      for (CheckpointNumber number = 0; number < slot_ring_length; ++number)
        for (const uint64_t offset : blob->slot_offsets(number))
          if (!all_zero(read({medium, offset}).span())) out["slot"].push_back({medium, offset});
    }
    for (const auto& [id, node] : nodes())
      for (const Place& place : node.places)
        out["node of level " + std::to_string(node.header.level)].push_back(place);
    for_each_segment([&](const Segment& segment) { add_segment(segment, out); });
    return out;
  }

  static Buffer read(const Place& place) {
    Buffer block(block_size);
    place.medium->read(place.offset, block.span());
    return block;
  }
  template <class Random>
  static void spoil(const Place& place, Random& random) {
    Buffer noise(block_size);
    for (std::byte& byte : noise.span()) byte = static_cast<std::byte>(random());
    place.medium->damage(place.offset, noise.span());
  }

 private:
  struct Segment {
    SimMedium* medium;
    const Blob* blob;
    SegmentHeader header;
    uint32_t index;
    Place at(uint32_t block) const { return {medium, blob->offset(index, block)}; }
    MetadataPlace place(uint32_t block) const {
      return {blob->id(), index, header.generation, block};
    }
  };

  void for_each_segment(const std::function<void(const Segment&)>& visit) const {
    for (const auto& [medium, blob] : disks_)
      for (uint32_t index = 0; index < blob->segment_count(); ++index) {
        const auto header = unpack_segment_header(read({medium, blob->offset(index, 0)}).span());
        if (header && header->state != SegmentState::retired &&
            header->pool == blob->superblock().pool)
          visit({medium, blob, *header, index});
      }
  }
  static void add_segment(const Segment& segment, Classes& out) {
    const SegmentHeader& header = segment.header;
    const std::string kind = " of class " + std::to_string(static_cast<int>(header.kind));
    out["header" + kind].push_back(segment.at(0));
    if (header.kind == SegmentClass::nodes) {
      for (uint32_t i = 1; i < header.blocks; ++i)
        if (unpack_tables_page(read(segment.at(i)).span(), header.secret, segment.place(i)))
          out["tables"].push_back(segment.at(i));
      return;
    }
    if (header.state != SegmentState::sealed) {
      if (header.kind == SegmentClass::log) add_records(segment, out["record"]);
      return;
    }
    const uint32_t arrays = array_blocks(header.kind, header.blocks);
    for (uint32_t i = 0; i < arrays; ++i) out["array" + kind].push_back(segment.at(1 + i));
    out["summary at the back" + kind].push_back(segment.at(header.blocks - 1));
    const auto back = decode_summary_head(read(segment.at(header.blocks - 1)).span());
    if (back && back->summary.second_array != 0)
      for (uint32_t i = 0; i < arrays; ++i)
        out["second array" + kind].push_back(segment.at(back->summary.second_array + i));
    if (header.kind == SegmentClass::log)
      add_records(segment, out["record of a sealed segment"]);
    else
      out["summary at the front" + kind].push_back(segment.at(1 + arrays));
  }
  static void add_records(const Segment& segment, std::vector<Place>& out) {
    const SegmentHeader& header = segment.header;
    uint32_t at = payload_begin(header.kind, header.blocks, header.front_blocks);
    while (at < header.blocks) {
      const auto record = unpack_record(read(segment.at(at)).span(), header.secret,
                                        {segment.blob->id(), segment.index, header.generation}, at);
      if (!record) break;
      out.push_back(segment.at(at));
      at += 1 + record->header.payload_blocks();
    }
  }

  std::vector<std::pair<SimMedium*, const Blob*>> disks_;
};

}  // namespace lamina
