// SPDX-License-Identifier: Apache-2.0
#include "node_versions.h"

#include <cstring>
#include <map>
#include <memory>

#include "base/checksum.h"
#include "blobs/segment.h"
#include "engine/maps/node.h"
#include "medium_snapshot.h"
#include "text.h"

namespace lamina::sim {
namespace {

using Versions = std::map<std::pair<NodeId, CheckpointNumber>, uint64_t>;

// Of all but what tells the place: both copies have the same.
uint64_t content_of(std::span<const std::byte> block, const Secret& secret) {
  Buffer copy(block_size);
  std::memcpy(copy.data(), block.data(), block_size);
  stamp_node(copy.span(), secret, MetadataPlace{});
  return plain_checksum(copy.span());
}

void check_segment(const SimMedium& medium, const Blob& blob, uint32_t segment, Versions& seen,
                   Report& report) {
  Buffer block(block_size);
  medium.read(blob.offset(segment, 0), block.span());
  const auto header = unpack_segment_header(block.span());
  if (!header || header->kind != SegmentClass::nodes || header->state == SegmentState::retired)
    return;
  for (uint32_t at = 1; at < header->blocks; ++at) {
    medium.read(blob.offset(segment, at), block.span());
    const MetadataPlace place{blob.id(), segment, header->generation, at};
    if (!verify_node(block.span(), header->secret, place)) continue;
    const NodeHeader node = NodeView(block.span()).header();
    const uint64_t content = content_of(block.span(), header->secret);
    const auto [found, first] = seen.emplace(std::pair(node.id, node.checkpoint), content);
    if (first || found->second == content) continue;
    report.violation(text("two nodes of id ", raw(node.id), " and version ", node.checkpoint,
                          " lie on the medium, one in segment ", segment, " of ", medium.name()));
    return;
  }
}

}  // namespace

void check_node_versions(const PoolMachine& machine, Report& report) {
  Versions seen;
  for (size_t i = 0; i < machine.media().size(); ++i) {
    const SimMedium& medium = *machine.media()[i];
    const Blob blob(std::make_shared<MediumSnapshot>(medium), machine.superblocks()[i]);
    for (uint32_t segment = 0; segment < blob.segment_count(); ++segment)
      check_segment(medium, blob, segment, seen, report);
  }
}

}  // namespace lamina::sim
