// SPDX-License-Identifier: Apache-2.0
#include "engine/reverse_map.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "base/endian.h"
#include "blobs/frame.h"
#include "blobs/record.h"
#include "blobs/segment.h"
#include "blobs/summary.h"
#include "engine/maps/node.h"
#include "engine/medium_users.h"
#include "engine/pool_state.h"
#include "engine/space/moved_parts.h"
#include "engine/tables_format.h"

namespace lamina {
namespace {

constexpr size_t most_users = 256;  // listed: an answer is no larger than an attribute

std::string class_name(SegmentClass kind) {
  switch (kind) {
    case SegmentClass::log:
      return "log";
    case SegmentClass::nodes:
      return "nodes";
    case SegmentClass::moved:
      return "moved";
    case SegmentClass::headers:
      return "headers";
    case SegmentClass::frames:
      return "frames";
  }
  return "unknown";
}

class Search {
 public:
  Search(PoolState& pool, Blob& blob, uint64_t offset) : pool_(pool), blob_(blob) {
    place_.blob = blob.superblock().blob_name;
    place_.offset = round_down(offset, block_size);
  }

  Task<Result<MediumPlace>> run() {
    if (!find_segment()) {
      name_what_is_outside();
      co_return std::move(place_);
    }
    const auto row = find_row();
    if (!row) {
      place_.what = "free";
      co_return std::move(place_);
    }
    place_.generation = row->name.generation;
    place_.segment_class = class_name(row->kind);
    if (row->kind == SegmentClass::nodes)
      LAMINA_CO_TRY(co_await look_at_node());
    else
      LAMINA_CO_TRY(co_await look_at(*row));
    co_return std::move(place_);
  }

 private:
  bool find_segment() {
    for (uint32_t i = 0; i < blob_.segment_count(); ++i) {
      const uint64_t begin = blob_.offset(i, 0);
      if (place_.offset < begin || place_.offset >= begin + blob_.segment_bytes()) continue;
      place_.segment = i;
      place_.block = static_cast<uint32_t>((place_.offset - begin) / block_size);
      return true;
    }
    return false;
  }

  void name_what_is_outside() {
    place_.what = "outside of segments";
    for (const uint64_t at : blob_.superblock_offsets())
      if (at == place_.offset) place_.what = "superblock";
    for (CheckpointNumber number = 0; number < slot_ring_length; ++number)
      for (const uint64_t at : blob_.slot_offsets(number))
        if (at == place_.offset) place_.what = "checkpoint slot";
  }

  std::optional<Segment> find_row() const {
    for (const Segment& s : pool_.space.segments())
      if (s.name.blob == blob_.id() && s.name.index == place_.segment) return s;
    return std::nullopt;
  }

  Task<Result<>> read(uint32_t block, std::span<std::byte> into) {
    IoBatch batch;
    batch.read(blob_.disk(), blob_.offset(place_.segment, block), into);
    co_await batch;
    co_return batch.result();
  }

  Address here() const { return {place_.generation, place_.block}; }

  // --- data and log

  // What has a place of its own in a segment; empty: it is where payload lies.
  std::string metadata_at(const Segment& row, uint32_t front_blocks) const {
    const uint32_t blocks = blob_.segment_blocks(), array = array_blocks(row.kind, blocks);
    if (place_.block == 0) return "segment header";
    if (place_.block < 1 + array)
      return row.kind == SegmentClass::frames ? "frame index" : "checksums";
    if (place_.block < payload_begin(row.kind, blocks, front_blocks)) return "summary";
    return "";
  }

  Task<Result<>> look_at(Segment row) {
    Buffer block(block_size);
    LAMINA_CO_TRY(co_await read(0, block.span()));
    const auto header = unpack_segment_header(block.span());
    const bool known = header && header->generation == place_.generation;
    place_.what = metadata_at(row, known ? header->front_blocks : 0);
    if (!place_.what.empty()) co_return Result<>{};
    MovedParts parts;
    if (row.kind == SegmentClass::frames)
      LAMINA_CO_TRY(co_await find_frames(parts));
    else
      parts.add({here(), 1, 0});
    parts.finish();
    LAMINA_CO_TRY(co_await find_users(std::move(parts)));
    if (!place_.users.empty()) {
      place_.what = "data";
      co_return Result<>{};
    }
    LAMINA_CO_TRY(co_await read(place_.block, block.span()));
    const SegmentName name{blob_.id(), place_.segment, place_.generation};
    if (row.kind == SegmentClass::log &&
        unpack_record(block.span(), pool_.identity.secret, name, place_.block))
      place_.what = "record";
    else if (row.use == SegmentUse::open && all_zero(block.span()))
      place_.what = "unused";
    else if (row.use == SegmentUse::open || place_.block < row.used_blocks)
      place_.what = "garbage";
    else {
      const std::string what = co_await at_the_end(row.kind);
      place_.what = what.empty() ? "unused" : what;
    }
    co_return Result<>{};
  }

  // What the summary at the end says; empty: it is neither of it nor of the array in front of it.
  Task<std::string> at_the_end(SegmentClass kind) {
    Buffer last(block_size);
    const uint32_t blocks = blob_.segment_blocks(), edge = blocks - 1;
    const Result<> got = co_await read(edge, last.span());
    const MetadataPlace place{blob_.id(), place_.segment, place_.generation, edge};
    if (!got || !back_summary_blocks(last.span(), pool_.identity.secret, place)) co_return "";
    const auto head = decode_summary_head(last.span());
    if (!head) co_return "";
    if (place_.block + head->blocks > edge) co_return "summary";
    const uint32_t second = head->summary.second_array;
    const bool in_second =
        place_.block >= second && place_.block < second + second_array_blocks(kind, blocks);
    co_return second != 0 && in_second ? "checksums" : "";
  }

  // The frames of which the block has a part, and their addresses.
  Task<Result<>> find_frames(MovedParts& parts) {
    const uint32_t blocks = blob_.segment_blocks(),
                   pages = array_blocks(SegmentClass::frames, blocks);
    Buffer index(uint64_t{pages} * block_size);
    LAMINA_CO_TRY(co_await read(1, index.span()));
    const auto word = [&](uint32_t at) {
      le32 value;
      std::memcpy(value.bytes.data(), index.data() + size_t{at} * 4, 4);
      return uint64_t{value.load()} * frame_grain;
    };
    const uint64_t begin = uint64_t{place_.block} * block_size, end = begin + block_size;
    const auto words = static_cast<uint32_t>(index.size() / 4);
    for (uint32_t frame = 0; frame + 1 < words; ++frame) {
      if (word(frame) == 0 || word(frame + 1) <= begin || word(frame) >= end) continue;
      if (place_.frames++ == 0) place_.frame = frame;
      parts.add({{place_.generation, frame * frame_blocks}, frame_blocks, 0});
    }
    co_return Result<>{};
  }

  Task<Result<>> find_users(MovedParts parts) {
    Task<Result<>> finding = find_medium_users(
        pool_, pool_.newest_image(), std::make_shared<const MovedParts>(std::move(parts)),
        [this](const MediumUser& user) { add_user(user.map, user.range, user.alias); });
    LAMINA_CO_TRY(co_await finding);
    std::sort(place_.users.begin(), place_.users.end(), [](const auto& a, const auto& b) {
      return std::tie(a.device, a.range.begin) < std::tie(b.device, b.range.begin);
    });
    co_return Result<>{};
  }

  void add_user(MapId map, BlockRange range, bool alias) {
    if (place_.users.size() == most_users) {
      place_.more_users = true;
      return;
    }
    Lock order(pool_.log.order());
    pool_.devices.for_each([&](const DevicePtr& device) {
      if (device->map->id() == map)
        place_.users.push_back({device->id, device->name, device->read_only, range, alias});
    });
  }

  // --- nodes

  Task<Result<>> look_at_node() {
    if (place_.block == 0) {
      place_.what = "segment header";
      co_return Result<>{};
    }
    const ImagePtr image = pool_.newest_image();
    image->nodes.for_each([&](NodeId id, const NodeEntry& entry) {
      if (std::ranges::count(entry.copies, here()) == 0) return;
      place_.node = id;
      place_.level = entry.level;
    });
    if (place_.node != NodeId::none) {
      place_.what = "node";
      co_return co_await find_owners(*image);
    }
    Buffer block(block_size);
    LAMINA_CO_TRY(co_await read(place_.block, block.span()));
    place_.what = co_await at_the_end(SegmentClass::nodes);
    if (!place_.what.empty()) co_return Result<>{};
    if (is_table(block.span()))
      place_.what = "checkpoint tables";
    else
      place_.what = "garbage";
    co_return Result<>{};
  }

  // A page of the tables of one of the two checkpoints that are kept.
  bool is_table(std::span<const std::byte> block) const {
    if (!has_magic(block, tables_format::magic)) return false;
    const auto named = [&](const ImagePtr& image) {
      return image && pool_.checkpointer.tables_segments(image->number).contains(place_.generation);
    };
    return named(pool_.newest_image()) || named(pool_.older_image());
  }

  // Every map that has the node: it is where the way down to its first block leads.
  Task<Result<>> find_owners(const Image& image) {
    auto block = co_await pool_.nodes.get(place_.node, image.nodes.at(place_.node), false);
    if (!block) co_return forward_error(block);
    const NodeHeader header = NodeView((*block)->span()).header();
    for (const ImageMap& map : image.maps) {
      NodeId at = map.root;
      while (at != NodeId::none && at != place_.node) {
        const NodeEntry* entry = image.nodes.find(at);
        if (!entry || entry->level <= header.level) break;
        auto parent = co_await pool_.nodes.get(at, *entry, false);
        if (!parent) co_return forward_error(parent);
        at = NodeView((*parent)->span()).child_for(header.begin).id;
      }
      if (at == place_.node) add_user(map.map, {header.begin, header.end}, false);
    }
    co_return Result<>{};
  }

  PoolState& pool_;
  Blob& blob_;
  MediumPlace place_;
};

}  // namespace

Task<Result<MediumPlace>> reverse_map(PoolState& pool, std::string blob, uint64_t offset) {
  const Blobs members = pool.blobs();
  const auto found = std::ranges::find_if(
      members, [&](const auto& one) { return one->superblock().blob_name == blob; });
  if (found == members.end()) co_return fail(Code::not_found, "no blob is called \"" + blob + "\"");
  if (offset >= (*found)->superblock().size)
    co_return fail(Code::invalid, "the blob \"" + blob + "\" is not so large");
  if (!pool.settings.read_only) LAMINA_CO_TRY(co_await pool.checkpointer.run());
  Search search(pool, **found, offset);
  Task<Result<MediumPlace>> running = search.run();
  co_return co_await running;
}

}  // namespace lamina
