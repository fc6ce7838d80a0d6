// SPDX-License-Identifier: Apache-2.0
#include "tools/describe_node.h"

#include <cstring>
#include <sstream>

#include "engine/maps/node.h"
#include "engine/maps/node_format.h"
#include "engine/tables_format.h"

namespace lamina {
namespace {

MetadataPlace place_of(const node_format::Header& header) {
  return {static_cast<BlobId>(header.blob.load()), header.segment.load(),
          static_cast<Generation>(header.generation.load()), header.block.load()};
}

const char* kind_of(const Extent& extent) {
  switch (extent.kind) {
    case ExtentKind::data:
      return extent.alias ? "alias" : "data";
    case ExtentKind::zero:
      return extent.reserved ? "reserved" : "zero";
    case ExtentKind::lost:
      return "lost";
  }
  return "unknown";
}

std::string line_of(const Extent& extent) {
  std::ostringstream out;
  out << kind_of(extent) << " blocks " << extent.begin.value << "+" << extent.length().value;
  if (extent.kind == ExtentKind::data)
    out << " at generation " << raw(extent.address.generation) << " block " << extent.address.block;
  if (extent.home != Generation::none) out << " home generation " << raw(extent.home);
  return out.str();
}

void describe_rows(std::span<const std::byte> block, std::ostringstream& out) {
  const auto node = unpack_node(block);
  if (!node) {
    out << "  does not decode: " << node.error().message << "\n";
    return;
  }
  const NodeHeader& header = node->header;
  out << "  node: " << raw(header.id) << "\n  birth: " << header.birth
      << "\n  checkpoint: " << header.checkpoint << "\n  map: " << raw(header.map)
      << "\n  level: " << header.level << (header.level == 0 ? " (leaf)" : "")
      << "\n  blocks: " << header.begin.value << " to " << header.end.value
      << "\n  mapped below: " << header.mapped_blocks << " blocks\n";
  for (const Extent& extent : node->extents) out << "  extent: " << line_of(extent) << "\n";
  for (const Child& child : node->children)
    out << "  child: from block " << child.begin.value << " node " << raw(child.id) << "\n";
}

std::string describe_map_node(std::span<const std::byte> block, const Secret* secret) {
  node_format::Header header;
  std::memcpy(&header, block.data(), sizeof header);
  const MetadataPlace place = place_of(header);
  std::ostringstream out;
  out << "node\n  checksum: ";
  if (secret == nullptr)
    out << "not checked, no secret is known\n";
  else
    out << (verify_node(block, *secret, place) ? "right for this place"
                                               : "WRONG for the place that it claims")
        << "\n";
  out << "  at: blob " << raw(place.blob) << " segment " << place.segment << " generation "
      << raw(place.generation) << " block " << place.block << "\n";
  describe_rows(block, out);
  return out.str();
}

std::string describe_tables_page(std::span<const std::byte> block) {
  const auto header = load_block<tables_format::Page>(block);
  std::ostringstream out;
  out << "page of a checkpoint's tables\n  checkpoint: " << header.checkpoint.load()
      << "\n  cut: " << header.cut.load() << "\n  epoch: " << header.epoch.load()
      << "\n  page: " << header.index.load() << " of " << header.count.load()
      << "\n  bytes used: " << header.used.load() << "\n";
  return out.str();
}

}  // namespace

std::string describe_node(std::span<const std::byte> block, const Secret* secret) {
  if (has_magic(block, node_format::magic)) return describe_map_node(block, secret);
  if (has_magic(block, tables_format::magic)) return describe_tables_page(block);
  return {};
}

}  // namespace lamina
