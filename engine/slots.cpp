// SPDX-License-Identifier: Apache-2.0
#include "engine/slots.h"

#include <algorithm>
#include <map>

#include "base/checksum.h"
#include "engine/missing_disk.h"
#include "engine/recovery_counters.h"

namespace lamina {
namespace {

// 8 MiB: no disk of less than 2 TiB has larger ones, unless somebody wanted them. For a member that
// is missing where the tables do not say it.
constexpr uint32_t usual_segment_blocks = 2048;

Blob* blob_of(const Blobs& blobs, BlobId id) {
  for (const auto& blob : blobs)
    if (blob->id() == id) return blob.get();
  return nullptr;
}

// The pages of one copy, those that are good.
struct Copy {
  std::vector<std::vector<std::byte>> pages;
  std::vector<bool> good;
};

Task<Result<Copy>> read_copy(const Slot& slot, size_t which, uint32_t pages, const Blobs& blobs,
                             const Secret& secret) {
  Copy copy;
  for (const SlotExtent& run : slot.tables[which]) {
    Blob* blob = blob_of(blobs, run.segment.blob);
    const bool inside = blob && run.segment.index < blob->segment_count() &&
                        uint64_t{run.block} + run.blocks <= blob->segment_blocks() &&
                        copy.pages.size() + run.blocks <= pages;
    if (!inside) co_return fail(Code::corrupt, "the slot names a run outside the pool");
    Buffer buffer(uint64_t{run.blocks} * block_size);
    IoBatch batch;
    batch.read(blob->disk(), blob->offset(run.segment.index, run.block), buffer.span());
    co_await batch;
    for (uint32_t i = 0; i < run.blocks; ++i) {
      const MetadataPlace place{run.segment.blob, run.segment.index, run.segment.generation,
                                run.block + i};
      auto page = unpack_tables_page(buffer.blocks(i, 1), secret, place);
      const bool good = batch.ok() && page && page->number == slot.number &&
                        page->index == copy.pages.size() && page->count == pages;
      copy.good.push_back(good);
      if (good)
        copy.pages.emplace_back(page->bytes.begin(), page->bytes.end());
      else
        copy.pages.emplace_back();
    }
  }
  copy.pages.resize(pages);
  copy.good.resize(pages, false);
  co_return copy;
}

}  // namespace

Task<Result<std::vector<Slot>>> find_slots(const Blobs& blobs, const Secret& secret) {
  std::map<CheckpointNumber, Slot> found;
  CheckpointNumber oldest_backed = 0;
  for (const auto& blob : blobs) {
    for (uint32_t place = 0; place < slot_ring_length; ++place) {
      size_t good = 0;
      for (const uint64_t offset : blob->slot_offsets(place)) {
        Buffer block(block_size);
        IoBatch batch;
        batch.read(blob->disk(), offset, block.span());
        co_await batch;
        if (!batch.ok()) continue;
        auto slot = unpack_slot(block.span(), secret, blob->id(),
                                static_cast<uint32_t>(offset / block_size));
        if (!slot || slot->number % slot_ring_length != place) continue;
        ++good;
        oldest_backed = std::max(oldest_backed, slot->oldest_backed);
        found.insert_or_assign(slot->number, std::move(*slot));
      }
      if (good == 1) count(RecoveryBranch::slot_copy_damaged);
    }
  }
  std::vector<Slot> slots;
  for (auto it = found.rbegin(); it != found.rend(); ++it)
    if (it->first >= oldest_backed) slots.push_back(std::move(it->second));
  if (slots.empty())
    co_return fail(Code::not_found,
                   "no checkpoint of this pool can be read; `lamina check` says what is damaged");
  co_return slots;
}

Task<std::vector<LogMark>> read_log_marks(const Blob& blob) {
  std::vector<LogMark> marks;
  if (blob.kind() != BlobKind::journal || is_missing(blob.disk())) co_return marks;
  Buffer block(block_size);
  for (const uint64_t offset : blob.log_mark_offsets()) {
    IoBatch batch;
    batch.read(blob.disk(), offset, block.span());
    co_await batch;
    if (!batch.ok()) continue;
    const auto mark = unpack_log_mark(block.span(), blob.superblock().secret, blob.id(),
                                      static_cast<uint32_t>(offset / block_size));
    if (mark) marks.push_back(*mark);
  }
  co_return marks;
}

Task<Sequence> marked_durable(const Blobs& blobs, Epoch since) {
  Sequence durable = 0;
  for (const auto& blob : blobs) {
    auto reading = read_log_marks(*blob);
    for (const LogMark& mark : co_await reading)
      if (mark.epoch >= since) durable = std::max(durable, mark.durable_through);
  }
  co_return durable;
}

Blobs members_of(const Slot& slot, const Blobs& blobs) {
  Blobs members;
  for (const auto& blob : blobs)
    if (std::ranges::any_of(slot.members, [&](const SlotMember& member) {
          return member.blob == blob->id() && member.uuid == blob->superblock().blob_uuid;
        }))
      members.push_back(blob);
  return members;
}

Result<> check_members(const Slot& slot, const Blobs& blobs,
                       const std::map<std::string, std::string>& absent) {
  const auto hint = [](const SlotMember& member) {
    return std::string("; `-o force` serves what is on the others without it") +
           (member.kind == BlobKind::journal ? ", unless the log goes on on it" : "");
  };
  std::map<std::string, std::string> known;  // as slots say names
  for (const auto& [name, why] : absent) {
    const std::string short_name = name.substr(0, slot_name_bytes);
    if (std::ranges::find(slot.members, short_name, &SlotMember::name) == slot.members.end())
      return fail(Code::not_found, why);
    known[short_name] = why;
  }
  for (const SlotMember& member : slot.members) {
    const Blob* blob = blob_of(blobs, member.blob);
    if (!blob && known.contains(member.name))
      return fail(Code::not_found, known.at(member.name) + hint(member));
    if (!blob)
      return fail(
          Code::not_found,
          "a blob of the pool is missing, \"" + member.name +
              "\": it was a member when "
              "the pool was last open. Name it in the pool file, with the path of its disk: "
              "{name: " +
              member.name + ", kind: " + name_of(member.kind) +
              ", tier: " + std::to_string(member.tier) + ", path: ...}" + hint(member));
    if (blob->segment_count() < member.segment_count && member.use != BlobUse::failed)
      return fail(Code::invalid,
                  blob->disk().name() + " is smaller than it was when the pool was last open");
  }
  return {};
}

void stand_in_for_missing(std::vector<SlotMember>& members, bool force, Blobs& blobs) {
  uint32_t segment_blocks = usual_segment_blocks;
  for (const auto& blob : blobs) segment_blocks = std::max(segment_blocks, blob->segment_blocks());
  for (SlotMember& member : members) {
    if (blob_of(blobs, member.blob) || (!force && member.use != BlobUse::failed)) continue;
    member.use = BlobUse::failed;
    blobs.push_back(missing_blob(member, *blobs.front(), segment_blocks));
  }
  std::ranges::sort(blobs, {}, [](const auto& blob) { return raw(blob->id()); });
}

void size_missing(const Tables& tables, Blobs& blobs) {
  for (auto& blob : blobs) {
    const auto known = tables.segment_blocks.find(blob->id());
    if (is_missing(blob->disk()) && known != tables.segment_blocks.end())
      blob = missing_blob(*blob, known->second);
  }
}

Task<Result<Tables>> read_tables(const Slot& slot, const Blobs& blobs, const Secret& secret,
                                 uint32_t* damaged) {
  const auto pages = static_cast<uint32_t>(div_up(slot.tables_bytes, tables_page_bytes));
  auto first = co_await read_copy(slot, 0, pages, blobs, secret);
  auto second = co_await read_copy(slot, 1, pages, blobs, secret);
  std::vector<std::byte> bytes;
  bytes.reserve(slot.tables_bytes);
  uint32_t bad = 0;
  for (uint32_t i = 0; i < pages; ++i) {
    const bool a = first && first->good[i], b = second && second->good[i];
    if (!a && !b)
      co_return fail(Code::corrupt, "page " + std::to_string(i) + " of checkpoint " +
                                        std::to_string(slot.number) + "'s tables is bad twice");
    bad += !a || !b;
    const auto& page = a ? first->pages[i] : second->pages[i];
    bytes.insert(bytes.end(), page.begin(), page.end());
  }
  if (bad > 0) count(RecoveryBranch::tables_copy_damaged);
  if (damaged) *damaged = bad;
  if (bytes.size() != slot.tables_bytes || plain_checksum(bytes) != slot.tables_checksum)
    co_return fail(Code::corrupt, "the tables of checkpoint " + std::to_string(slot.number) +
                                      " do not match its slot");
  auto tables = unpack_tables(bytes);
  if (tables && (tables->number != slot.number || tables->cut != slot.cut))
    co_return fail(Code::corrupt, "the tables are of another checkpoint than the slot says");
  co_return tables;
}

}  // namespace lamina
