// SPDX-License-Identifier: Apache-2.0
#include "blobs/slot.h"

#include <algorithm>

#include "blobs/segment_format.h"
#include "blobs/slot_format.h"

namespace lamina {
namespace {

bool valid_extent(const SlotExtent& extent) {
  return extent.segment.blob != BlobId::none && extent.segment.generation != Generation::none &&
         extent.block > 0 && extent.blocks > 0 && extent.block < max_segment_blocks &&
         extent.blocks <= max_segment_blocks - extent.block;
}

// Whether a copy's runs have room for the stream and no block too many.
bool valid_table(const std::vector<SlotExtent>& table, uint64_t tables_bytes) {
  uint64_t blocks = 0;
  for (const SlotExtent& extent : table) {
    if (!valid_extent(extent)) return false;
    blocks += extent.blocks;
  }
  return table.size() <= slot_max_extents && tables_bytes <= blocks * block_size;
}

bool valid_members(const std::vector<SlotMember>& members) {
  return members.size() <= slot_max_members &&
         std::all_of(members.begin(), members.end(), [](const SlotMember& member) {
           return member.blob != BlobId::none && member.kind >= BlobKind::journal &&
                  member.kind <= BlobKind::compression && member.use <= BlobUse::failed;
         });
}

bool valid(const Slot& slot) {
  // A slot may hold one copy only where a pool has lost the other's disk.
  const bool tables = valid_table(slot.tables[0], slot.tables_bytes) &&
                      (slot.tables[1].empty() || valid_table(slot.tables[1], slot.tables_bytes));
  return tables && slot.number > 0 && slot.oldest_backed <= slot.number &&
         slot.recent_cuts.size() <= slot_max_cuts && valid_members(slot.members);
}

void pack_lists(const Slot& slot, SlotFormat& format) {
  for (size_t copy = 0; copy < slot.tables.size(); ++copy) {
    const auto& table = slot.tables[copy];
    format.extent_counts[copy] = static_cast<unsigned char>(table.size());
    for (size_t i = 0; i < table.size(); ++i) {
      SlotExtentFormat& extent = format.tables[copy][i];
      extent.segment = pack_name(table[i].segment);
      extent.block.store(table[i].block);
      extent.blocks.store(table[i].blocks);
    }
  }
  format.member_count = static_cast<unsigned char>(slot.members.size());
  for (size_t i = 0; i < slot.members.size(); ++i) {
    SlotMemberFormat& member = format.members[i];
    member.uuid = slot.members[i].uuid;
    member.tier.store(slot.members[i].tier);
    member.segment_count.store(slot.members[i].segment_count);
    member.blob.store(raw(slot.members[i].blob));
    member.kind = raw(slot.members[i].kind);
    member.use = raw(slot.members[i].use);
    const std::string& name = slot.members[i].name;
    std::copy_n(name.begin(), std::min(name.size(), slot_name_bytes), format.names[i].begin());
  }
  format.cut_count = static_cast<unsigned char>(slot.recent_cuts.size());
  for (size_t i = 0; i < slot.recent_cuts.size(); ++i) {
    format.recent_cuts[i].epoch.store(slot.recent_cuts[i].epoch);
    format.recent_cuts[i].cut.store(slot.recent_cuts[i].cut);
  }
}

template <class Element, size_t N>
bool unused_are_zero(const std::array<Element, N>& elements, size_t used) {
  return all_zero(std::as_bytes(std::span(elements).subspan(used)));
}

// False: out of range, here and below.
bool unpack_table(const SlotTableFormat& format, size_t count, std::vector<SlotExtent>& table) {
  if (count > slot_max_extents || !unused_are_zero(format, count)) return false;
  table.resize(count);
  for (size_t i = 0; i < count; ++i) {
    if (!unpack_name(format[i].segment, table[i].segment)) return false;
    table[i].block = format[i].block.load();
    table[i].blocks = format[i].blocks.load();
  }
  return true;
}

bool unpack_members(const SlotFormat& format, std::vector<SlotMember>& members) {
  const size_t count = format.member_count;
  if (count > slot_max_members || !unused_are_zero(format.members, count) ||
      !unused_are_zero(format.names, count))
    return false;
  for (size_t i = 0; i < count; ++i) {
    const SlotMemberFormat& member = format.members[i];
    const auto& name = format.names[i];
    const auto end = std::find(name.begin(), name.end(), '\0');
    if (std::any_of(end, name.end(), [](char c) { return c != '\0'; })) return false;
    members.push_back({BlobId{member.blob.load()}, member.uuid, BlobKind{member.kind},
                       member.tier.load(), member.segment_count.load(), BlobUse{member.use},
                       std::string(name.begin(), end)});
  }
  return true;
}

bool unpack_cuts(const SlotFormat& format, std::vector<EpochCut>& cuts) {
  const size_t count = format.cut_count;
  if (count > slot_max_cuts || !unused_are_zero(format.recent_cuts, count)) return false;
  for (size_t i = 0; i < count; ++i)
    cuts.push_back({format.recent_cuts[i].epoch.load(), format.recent_cuts[i].cut.load()});
  return true;
}

bool unpack_lists(const SlotFormat& format, Slot& slot) {
  for (size_t copy = 0; copy < slot.tables.size(); ++copy)
    if (!unpack_table(format.tables[copy], format.extent_counts[copy], slot.tables[copy]))
      return false;
  return unpack_members(format, slot.members) && unpack_cuts(format, slot.recent_cuts);
}

bool unpack_places(const SlotFormat& format, Slot& slot) {
  slot.log_block = format.log_block.load();
  for (size_t i = 0; i < slot.log_next.size(); ++i)
    if (!unpack_name(format.log_next[i], slot.log_next[i])) return false;
  return unpack_name(format.log_segment, slot.log_segment);
}

}  // namespace

const char* name_of(BlobUse use) {
  switch (use) {
    case BlobUse::serves:
      return "serves";
    case BlobUse::leaving:
      return "leaving";
    case BlobUse::failed:
      return "failed";
  }
  return "unknown";
}

void pack_slot(const Slot& slot, const Secret& secret, BlobId blob, uint32_t disk_block,
               std::span<std::byte> block) {
  LAMINA_CHECK(valid(slot));
  SlotFormat format{};
  format.magic = slot_magic;
  format.version.store(format_version);
  format.epoch.store(slot.epoch);
  format.number.store(slot.number);
  format.oldest_backed.store(slot.oldest_backed);
  format.cut.store(slot.cut);
  format.log_segment = pack_name(slot.log_segment);
  format.log_block.store(slot.log_block);
  for (size_t i = 0; i < slot.log_next.size(); ++i)
    format.log_next[i] = pack_name(slot.log_next[i]);
  format.last_checksum.store(slot.last_checksum);
  format.durable_through.store(slot.durable_through);
  format.wall_ns.store(slot.wall_ns);
  format.tables_bytes.store(slot.tables_bytes);
  format.tables_checksum.store(slot.tables_checksum);
  format.generation_mark.store(slot.generation_mark);
  format.disk_block.store(disk_block);
  format.blob.store(raw(blob));
  format.clean = slot.clean ? 1 : 0;
  pack_lists(slot, format);
  store_block(format, block);
  store_block_checksum(block, keyed_block_checksum(block, secret, place_outside(blob, disk_block)));
}

Result<Slot> decode_slot(std::span<const std::byte> block, MetadataPlace& place) {
  if (!has_magic(block, slot_magic)) return fail(Code::corrupt, "no slot");
  const auto format = load_block<SlotFormat>(block);
  if (format.version.load() != format_version)
    return fail(Code::unsupported, "slot: of a format that a newer lamina made");
  place = place_outside(BlobId{format.blob.load()}, format.disk_block.load());
  Slot slot;
  slot.number = format.number.load();
  slot.oldest_backed = format.oldest_backed.load();
  slot.epoch = format.epoch.load();
  slot.cut = format.cut.load();
  slot.clean = format.clean != 0;
  slot.last_checksum = format.last_checksum.load();
  slot.durable_through = format.durable_through.load();
  slot.generation_mark = format.generation_mark.load();
  slot.wall_ns = format.wall_ns.load();
  slot.tables_bytes = format.tables_bytes.load();
  slot.tables_checksum = format.tables_checksum.load();
  const bool reserved = format.reserved0 == 0 && all_zero(format.reserved1) &&
                        format.reserved2.load() == 0 && format.clean <= 1;
  if (!reserved || !unpack_places(format, slot) || !unpack_lists(format, slot) || !valid(slot))
    return fail(Code::corrupt, "slot: a value is out of range");
  return slot;
}

Result<Slot> unpack_slot(std::span<const std::byte> block, const Secret& secret, BlobId blob,
                         uint32_t disk_block) {
  if (!has_magic(block, slot_magic)) return fail(Code::corrupt, "no slot");
  const MetadataPlace place = place_outside(blob, disk_block);
  if (stored_block_checksum(block) != keyed_block_checksum(block, secret, place))
    return fail(Code::corrupt, "slot: the checksum is wrong");
  MetadataPlace said;
  auto slot = decode_slot(block, said);
  if (!slot) return slot;
  if (said.blob != blob || said.block != disk_block)
    return fail(Code::corrupt, "slot: it names another place");
  return slot;
}

}  // namespace lamina
