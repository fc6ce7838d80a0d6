// SPDX-License-Identifier: Apache-2.0
// What segments say of themselves, and the data in them.
#include <algorithm>
#include <set>

#include "base/lanes.h"
#include "engine/check/checker.h"
#include "engine/heal/segment_parts.h"
#include "engine/medium_users.h"
#include "engine/pool_state.h"
#include "engine/scrub/verify_segment.h"

namespace lamina {
namespace {

constexpr size_t segment_lanes = 8;

// What is dead is about to be stamped, and what is open is told by its records.
bool is_to_be_whole(const Segment& row) {
  const bool nodes = row.kind == SegmentClass::nodes;  // which are told by a header alone
  return (row.is_filled() || (nodes && row.use == SegmentUse::open)) &&
         row.dead_in == 0;
}

// From header to header; behind a bad one the next that is good is looked for.
Task<void> look_at_records(PoolState& pool, const Segment& row, uint32_t used_end,
                           std::vector<CheckFinding>& out) {
  Blob& blob = pool.space.blob(row.name.blob);
  Buffer block(block_size);
  bool searching = false;
  for (uint32_t at = payload_begin(row.kind, blob.segment_blocks(), 0); at < used_end;) {
    IoBatch batch;
    batch.read(blob.disk(), blob.offset(row.name.index, at), block.span());
    co_await batch;
    const auto record = unpack_record(block.span(), pool.identity.secret, row.name, at);
    const bool good = batch.ok() && record;
    if (!good && !searching)
      out.push_back({"B1",
                     blob.disk().name() + "@" + std::to_string(blob.offset(row.name.index, at)),
                     "a record's header: " +
                         (batch.ok() ? record.error().message : batch.result().error().message)});
    searching = !good;
    at += good ? 1 + record->header.payload_blocks() : 1;
  }
}

}  // namespace

Task<Checker::Findings> Checker::look_at(Generation generation) {
  Findings out;
  const ImagePtr held = pool_.newest_image();
  const auto row = pool_.space.segment(generation);
  if (!row || !is_to_be_whole(*row) || pool_.space.blob(row->name.blob).disk().given_up())
    co_return out;
  Blob& blob = pool_.space.blob(row->name.blob);
  const auto damaged = [&](const char* rule, uint32_t block, const std::string& what) {
    out.push_back({rule,
                   blob.disk().name() + "@" + std::to_string(blob.offset(row->name.index, block)) +
                       " (segment " + std::to_string(row->name.index) + ", generation " +
                       std::to_string(raw(generation)) + ")",
                   what});
  };
  if (row->kind == SegmentClass::nodes) {
    Task<bool> looking = header_names(pool_, row->name);
    const bool good = co_await looking;
    if (!good) damaged("B3", 0, "the header of a segment of nodes");
    co_return out;
  }
  Task<Result<SegmentParts>> looking = look_at_segment(pool_, *row);
  const auto parts = co_await looking;
  if (!parts) {
    damaged("B7", 0, parts.error().message);
    co_return out;
  }
  if (!parts->header) damaged("B7", 0, "the header of a segment that is in use");
  // What never got a seal, because its disk took none, is told by its records.
  const bool unsealed =
      row->kind == SegmentClass::log && parts->header && parts->says.state != SegmentState::sealed;
  if (!parts->back && !unsealed)
    damaged("B4", blob.segment_blocks() - 1, "back summary: " + parts->back.error().message);
  if (row->kind != SegmentClass::log && !parts->front)
    damaged("B4", 1 + array_blocks(row->kind, blob.segment_blocks()),
            "front summary: " + parts->front.error().message);
  for (const ArrayCopy& copy : parts->arrays)
    if (!copy.good && !unsealed && parts->any())
      damaged("B6", copy.block, "the payload checksums are not those that the summary vouches for");
  if (row->kind == SegmentClass::log) {
    Task<void> records = look_at_records(pool_, *row, row->used_blocks, out);
    co_await records;
  }
  // It may have been freed and used again meanwhile: then that is what was seen.
  const auto still = pool_.space.segment(generation);
  if (!still || !is_to_be_whole(*still)) out.clear();
  co_return out;
}

Task<Result<>> Checker::check_segments() {
  std::set<Generation> of_nodes;  // that the image names: their headers are on the disk
  {
    const ImagePtr image = pool_.newest_image();
    of_nodes = pool_.checkpointer.tables_segments(image->number);
    image->nodes.for_each([&](NodeId, const NodeEntry& entry) {
      for (const Address& copy : entry.copies) of_nodes.insert(copy.generation);
    });
  }
  std::vector<Generation> all;
  for (const Segment& row : pool_.space.segments())
    if (is_to_be_whole(row) &&
        (row.kind != SegmentClass::nodes || of_nodes.contains(row.name.generation)))
      all.push_back(row.name.generation);
  doing("segments", all.size());
  std::vector<Generation> suspects;
  Task<void> checking = in_lanes(all.size(), segment_lanes, [&](size_t i) -> Task<void> {
    if (!go_on()) co_return;
    Task<Findings> looking = look_at(all[i]);
    const Findings found = co_await looking;
    if (!found.empty()) suspects.push_back(all[i]);
    note(&CheckStatus::done);
    note(&CheckStatus::segments);
  });
  co_await checking;
  if (suspects.empty()) co_return go_on();
  // A seal may have been under way: behind a checkpoint all of them are durable.
  LAMINA_CO_TRY(co_await checkpoint());
  for (const Generation generation : suspects) {
    LAMINA_CO_TRY(go_on());
    Task<Findings> looking = look_at(generation);
    Findings found = co_await looking;
    add_all(std::move(found));
  }
  co_return go_on();
}

Task<Result<>> Checker::check_data() {
  std::vector<Segment> all = pool_.space.segments();
  std::erase_if(all, [](const Segment& row) { return !row.holds_data() || !is_written(row); });
  doing("data", all.size());
  pace_.begin(0);
  for (const Segment& row : all) {
    LAMINA_CO_TRY(go_on());
    Task<Result<VerifiedSegment>> verifying = verify_segment(pool_, row.name.generation, pace_);
    auto verified = co_await verifying;
    note(&CheckStatus::done);
    if (!verified && verified.error().code == Code::not_found) continue;  // it is gone by now
    if (!verified) co_return forward_error(verified);
    note(&CheckStatus::verified_bytes, verified->bytes);
    if (verified->bad.empty()) continue;
    Task<Result<std::vector<MediumUser>>> finding =
        all_medium_users(pool_, std::move(verified->bad), [this] { return go_on(); });
    auto users = co_await finding;
    if (!users) co_return forward_error(users);
    for (const MediumUser& user : *users) {
      DeviceId device = DeviceId::none;
      {
        Lock order(pool_.log.order());
        if (const ThinMap* const map = pool_.devices.find_map(user.map)) device = map->device();
      }
      add({"B6", in_device(device, user.range), "its data cannot be read or is wrong"});
    }
  }
  co_return go_on();
}

}  // namespace lamina
