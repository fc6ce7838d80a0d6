// SPDX-License-Identifier: Apache-2.0
#include "tools/check_checkpoint.h"

#include <algorithm>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/buffer.h"
#include "engine/maps/node.h"
#include "engine/slots.h"
#include "engine/tables.h"

namespace lamina {
namespace {

constexpr size_t nodes_at_once = 256;

struct NodeCopy {
  NodeId id = NodeId::none;
  NodeEntry entry;
  MetadataPlace place{};
  Blob* blob = nullptr;
  uint64_t offset = 0;  // on its disk
};

class CheckpointCheck {
 public:
  CheckpointCheck(const Blobs& blobs, const Secret& secret, const CheckOptions& options,
                  CheckReport& report)
      : blobs_(blobs), secret_(secret), options_(options), report_(report) {}

  // Both copies of every page that the slot names.
  Task<void> check_pages(Slot slot) {
    for (size_t copy = 0; copy < slot.tables.size(); ++copy) {
      uint32_t index = 0;
      for (const SlotExtent& run : slot.tables[copy]) {
        for (uint32_t i = 0; i < run.blocks; ++i, ++index) {
          const uint64_t begin = uint64_t{index} * tables_page_bytes;
          if (begin >= slot.tables_bytes) break;
          const MetadataPlace place{run.segment.blob, run.segment.index, run.segment.generation,
                                    run.block + i};
          Task<void> checking = check_page(slot.number, index, place);
          co_await checking;
        }
      }
    }
  }

  // Both copies of every node; those that `before` has as they are here were looked at with it.
  Task<void> check_nodes(const Tables& tables, const Tables* before) {
    std::unordered_map<uint32_t, SegmentName> names;
    for (const Segment& row : tables.segments) names.emplace(raw(row.name.generation), row.name);
    std::vector<NodeCopy> copies;
    tables.nodes.for_each([&](NodeId id, const NodeEntry& entry) {
      const NodeEntry* same = before ? before->nodes.find(id) : nullptr;
      if (same && *same == entry) return;
      for (const Address& at : entry.copies)
        if (at.generation != Generation::none) add_copy(id, entry, at, names, copies);
    });
    std::ranges::sort(copies, {}, [](const NodeCopy& copy) {
      return std::pair{copy.place.blob, copy.offset};
    });
    for (size_t i = 0; i < copies.size(); i += nodes_at_once) {
      options_.progress("nodes", i, copies.size());
      const size_t count = std::min(nodes_at_once, copies.size() - i);
      Task<void> reading = check_some(std::span(copies).subspan(i, count));
      co_await reading;
    }
  }

 private:
  Blob* blob(BlobId id) const {
    for (const auto& blob : blobs_)
      if (blob->id() == id) return blob.get();
    return nullptr;
  }

  void damaged(const char* rule, const Blob& blob, uint64_t offset, std::string what) {
    report_.findings.push_back(
        {rule, blob.disk().name() + "@" + std::to_string(offset), std::move(what)});
  }

  Task<void> check_page(CheckpointNumber number, uint32_t index, MetadataPlace place) {
    Blob* on = blob(place.blob);
    if (!on || place.segment >= on->segment_count()) co_return;
    const uint64_t offset = on->offset(place.segment, place.block);
    Buffer block(block_size);
    IoBatch batch;
    batch.read(on->disk(), offset, block.span());
    co_await batch;
    std::string why = "it is a page of another checkpoint";
    if (!batch.ok()) {
      why = batch.result().error().message;
    } else {
      const auto page = unpack_tables_page(block.span(), secret_, place);
      if (page && page->number == number && page->index == index) co_return;
      if (!page) why = page.error().message;
    }
    damaged("C5", *on, offset,
            "a copy of page " + std::to_string(index) + " of checkpoint " + std::to_string(number) +
                "'s tables: " + why);
  }

  void add_copy(NodeId id, const NodeEntry& entry, const Address& at,
                const std::unordered_map<uint32_t, SegmentName>& names,
                std::vector<NodeCopy>& copies) {
    const auto name = names.find(raw(at.generation));
    Blob* on = name == names.end() ? nullptr : blob(name->second.blob);
    if (!on || name->second.index >= on->segment_count() || at.block >= on->segment_blocks()) {
      report_.findings.push_back({"B3", "node " + std::to_string(raw(id)),
                                  "the node table says that a copy lies in generation " +
                                      std::to_string(raw(at.generation)) +
                                      ", and no segment is called so"});
      return;
    }
    copies.push_back({id,
                      entry,
                      {name->second.blob, name->second.index, at.generation, at.block},
                      on,
                      on->offset(name->second.index, at.block)});
  }

  Task<void> check_some(std::span<const NodeCopy> copies) {
    Buffer blocks(copies.size() * block_size);
    std::vector<DiskOperation*> reads;
    IoBatch batch;
    for (size_t i = 0; i < copies.size(); ++i)
      reads.push_back(&batch.read(copies[i].blob->disk(), copies[i].offset, blocks.blocks(i, 1)));
    co_await batch;
    for (size_t i = 0; i < copies.size(); ++i) {
      const NodeCopy& copy = copies[i];
      const auto why = reads[i]->error == 0 ? what_is_wrong(copy, blocks.blocks(i, 1))
                                            : std::optional<std::string>("it cannot be read");
      if (why)
        damaged("B3", *copy.blob, copy.offset,
                "a copy of node " + std::to_string(raw(copy.id)) + ": " + *why);
    }
  }

  std::optional<std::string> what_is_wrong(const NodeCopy& copy,
                                           std::span<const std::byte> block) const {
    const Result<> verified = verify_node(block, secret_, copy.place);
    if (!verified) return verified.error().message;
    const NodeHeader header = NodeView(block).header();
    if (header.id != copy.id || header.checkpoint != copy.entry.checkpoint ||
        header.level != copy.entry.level)
      return "another node, or another version of it, is here";
    return std::nullopt;
  }

  const Blobs& blobs_;
  const Secret& secret_;
  const CheckOptions& options_;
  CheckReport& report_;
};

// `older`: the tables of the checkpoint before, where there are any.
KnownSegments known_by(const Slot& slot, const Tables& newest, const Tables* older) {
  std::unordered_set<uint32_t> sealed_before;
  if (older)
    for (const Segment& row : older->segments)
      if (row.use == SegmentUse::sealed) sealed_before.insert(raw(row.name.generation));
  std::unordered_set<uint32_t> of_nodes;
  newest.nodes.for_each([&](NodeId, const NodeEntry& entry) {
    for (const Address& at : entry.copies) of_nodes.insert(raw(at.generation));
  });
  KnownSegments known;
  for (const Segment& row : newest.segments) {
    const uint32_t generation = raw(row.name.generation);
    const bool data = row.holds_data() && row.use == SegmentUse::sealed && row.dead_in == 0 &&
                      !row.is_kept_away();
    if (data) known.kept_data.insert(generation);
    if (data || of_nodes.contains(generation))
      known.kept.insert(place_of(row.name.blob, row.name.index));
    // Of nodes those have no summary that a crash left open; nobody misses it.
    if (row.use != SegmentUse::sealed || !row.holds_data()) continue;
    const bool flushed =
        slot.clean || sealed_before.contains(generation) ||
        (row.kind == SegmentClass::log && generation < raw(slot.log_segment.generation));
    if (flushed) known.sealed.insert(generation);
  }
  return known;
}

}  // namespace

Task<void> check_checkpoints(const Blobs& blobs, const Secret& secret, const CheckOptions& options,
                             KnownSegments& known, CheckReport& report) {
  auto slots = co_await find_slots(blobs, secret);
  if (!slots) co_return;  // which is reported by who looked at them one by one
  CheckpointCheck check(blobs, secret, options, report);
  std::vector<Tables> tables;
  for (size_t i = 0; i < std::min<size_t>(slots->size(), 2); ++i) {
    Task<void> pages = check.check_pages((*slots)[i]);
    co_await pages;
    auto read = co_await read_tables((*slots)[i], blobs, secret);
    if (!read) break;
    tables.push_back(std::move(*read));
  }
  for (size_t i = 0; i < tables.size(); ++i) {
    Task<void> nodes = check.check_nodes(tables[i], i == 0 ? nullptr : &tables.front());
    co_await nodes;
  }
  if (!tables.empty())
    known = known_by(slots->front(), tables.front(), tables.size() > 1 ? &tables[1] : nullptr);
}

}  // namespace lamina
