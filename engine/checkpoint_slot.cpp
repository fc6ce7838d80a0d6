// SPDX-License-Identifier: Apache-2.0
// How a checkpoint becomes true: its tables, then the slot that names them.
#include <algorithm>

#include "base/checksum.h"
#include "blobs/segment.h"
#include "engine/checkpoint_parts.h"
#include "engine/pool_state.h"

namespace lamina {

Task<Result<>> Checkpointer::write_tables(Cut& cut, Made& made, Slot& slot) {
  Tables& t = cut.tables;
  // Segments of a blob that has grown are taken once this slot counts them.
  uint64_t segments = 0;
  for (const auto& blob : pool_.blobs()) segments += blob->segment_count();
  for (const auto& blob : pool_.blobs()) t.segment_blocks[blob->id()] = blob->segment_blocks();
  const uint32_t quota = generation_quota(segments);
  t.next_node = NodeId{made.next_node};
  t.nodes = made.nodes;
  t.segments = pool_.space.tell_tables(made.number);
  made.counts.add_to(t.segments);
  // A rebuild without slots knows by it that something was there (B2).
  const LogPosition& log = cut.log;
  for (Segment& s : t.segments)
    if (s.name.generation == log.segment.generation && s.use == SegmentUse::open &&
        log.block >
            payload_begin(SegmentClass::log, pool_.space.blob(s.name.blob).segment_blocks(), 0))
      s.used_blocks = log.block;
  for (Segment& s : t.segments)
    for (const Generation target : cut.moves.targets)
      if (s.name.generation == target) s.settled = t.cut;
  t.next_generation = pool_.space.next_generation();
  slot.generation_mark = raw(t.next_generation) + quota;
  const std::vector<std::byte> bytes = pack_tables(t);
  slot.tables_bytes = bytes.size();
  slot.tables_checksum = plain_checksum(bytes);
  const auto count = static_cast<uint32_t>(div_up(bytes.size(), tables_page_bytes));
  for (uint32_t i = 0; i < count; ++i) {
    auto places = co_await pool_.writer.append(std::nullopt);
    if (!places) co_return forward_error(places);
    TablesPage page;
    page.number = made.number;
    page.epoch = t.epoch;
    page.cut = t.cut;
    page.index = i;
    page.count = count;
    page.bytes = std::span(bytes).subspan(i * tables_page_bytes);
    page.bytes = page.bytes.first(std::min(page.bytes.size(), tables_page_bytes));
    for (size_t c = 0; c < 2; ++c) {
      const MetadataPlace& key = places->keys[c];
      pack_tables_page(page, pool_.identity.secret, key, places->blocks[c]);
      auto& runs = slot.tables[c];
      if (!runs.empty() && runs.back().segment.generation == key.generation &&
          runs.back().block + runs.back().blocks == key.block) {
        ++runs.back().blocks;
      } else {
        if (runs.size() == slot_max_extents)
          co_return fail(Code::too_big, "the checkpoint's tables take more runs than a slot names");
        runs.push_back({{key.blob, key.segment, key.generation}, key.block, 1});
      }
    }
  }
  co_return Result<>{};
}

Task<Result<>> Checkpointer::write_slot(const Slot& named) {
  Slot slot = named;
  for (const auto& blob : pool_.blobs())
    slot.members.push_back({blob->id(), blob->superblock().blob_uuid, blob->superblock().kind,
                            blob->superblock().tier, blob->segment_count(),
                            pool_.space.use_of(blob->id()),
                            blob->superblock().blob_name.substr(0, slot_name_bytes)});
  slot.wall_ns = pool_.settings.background->wall_ns();
  std::vector<Buffer> blocks;
  IoBatch writes;
  for (const auto& blob : pool_.blobs()) {
    for (const uint64_t offset : blob->slot_offsets(slot.number)) {
      blocks.emplace_back(block_size);
      pack_slot(slot, pool_.identity.secret, blob->id(), static_cast<uint32_t>(offset / block_size),
                blocks.back().span());
      writes.write(blob->disk(), offset, blocks.back().span());
      pool_.counters.add(Cause::slots, block_size);
    }
  }
  co_await writes;
  LAMINA_CO_TRY(writes.result());
  co_return co_await pool_.log.flush_all_disks(slot.epoch);
}

}  // namespace lamina
