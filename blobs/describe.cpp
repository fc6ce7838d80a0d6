// SPDX-License-Identifier: Apache-2.0
#include "blobs/describe.h"

#include <ctime>
#include <iomanip>
#include <sstream>

#include "blobs/block_format.h"
#include "blobs/entry_format.h"
#include "blobs/log_mark.h"
#include "blobs/log_mark_format.h"
#include "blobs/record.h"
#include "blobs/record_format.h"
#include "blobs/segment_format.h"
#include "blobs/slot_format.h"
#include "blobs/summary_format.h"
#include "blobs/superblock_format.h"

namespace lamina {
namespace {

// "name: value" lines under a title.
class Lines {
 public:
  explicit Lines(const char* title) { out_ << title << "\n"; }
  template <class... Values>
  void add(const char* name, const Values&... values) {
    out_ << "  " << name << ": ";
    (out_ << ... << values);
    out_ << "\n";
  }
  std::string text() const { return out_.str(); }

 private:
  std::ostringstream out_;
};

std::string hex(uint64_t value) {
  std::ostringstream out;
  out << "0x" << std::hex << std::setw(16) << std::setfill('0') << value;
  return out.str();
}

// People choose names, and what they choose must not move a terminal's cursor.
std::string quoted(const std::string& name) {
  std::string out = "\"";
  for (const char c : name) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return out + "\"";
}

std::string time_text(uint64_t wall_ns) {
  const auto seconds = static_cast<time_t>(wall_ns / 1'000'000'000);
  std::tm parts{};
  if (gmtime_r(&seconds, &parts) == nullptr) return std::to_string(wall_ns) + " ns";
  std::ostringstream out;
  out << std::put_time(&parts, "%Y-%m-%dT%H:%M:%S") << "." << std::setw(9) << std::setfill('0')
      << wall_ns % 1'000'000'000 << "Z";
  return out.str();
}

std::string text_of(const SegmentName& name) {
  if (name.blob == BlobId::none) return "none";
  return "blob " + std::to_string(raw(name.blob)) + " segment " + std::to_string(name.index) +
         " generation " + std::to_string(raw(name.generation));
}

std::string text_of(const Address& address) {
  if (address.generation == Generation::none) return "none";
  return "generation " + std::to_string(raw(address.generation)) + " block " +
         std::to_string(address.block);
}

const char* name_of(EntryKind kind) {
  switch (kind) {
    case EntryKind::write:
      return "write";
    case EntryKind::zero:
      return "zero";
    case EntryKind::alias:
      return "alias";
    case EntryKind::lost:
      return "lost";
    case EntryKind::create:
      return "create";
    case EntryKind::unlink:
      return "unlink";
    case EntryKind::drop:
      return "drop";
    case EntryKind::rename:
      return "rename";
    case EntryKind::resize:
      return "resize";
    case EntryKind::new_map:
      return "new_map";
    case EntryKind::attribute:
      return "attribute";
    case EntryKind::metadata:
      return "metadata";
    case EntryKind::reserve:
      return "reserve";
    case EntryKind::fork:
      return "fork";
    case EntryKind::node:
      return "node";
    case EntryKind::nothing:
      return "nothing";
    case EntryKind::origin:
      return "origin";
  }
  return "unknown";
}

const char* name_of(SegmentClass kind) {
  switch (kind) {
    case SegmentClass::log:
      return "log";
    case SegmentClass::nodes:
      return "nodes";
    case SegmentClass::frames:
      return "frames";
    case SegmentClass::moved:
      return "moved";
    case SegmentClass::headers:
      return "headers";
  }
  return "unknown";
}

const char* name_of(SegmentState state) {
  switch (state) {
    case SegmentState::open:
      return "open";
    case SegmentState::sealed:
      return "sealed";
    case SegmentState::retired:
      return "retired";
  }
  return "unknown";
}

const char* verdict(const Secret* secret, bool good) {
  if (secret == nullptr) return "not checked, no secret is given";
  return good ? "right for this place" : "WRONG for the place that it claims";
}

std::string broken(const char* title, const Error& error) {
  Lines lines(title);
  lines.add("does not decode", error.message);
  return lines.text();
}

std::string describe_superblock(std::span<const std::byte> block) {
  const auto superblock = unpack_superblock(block);
  if (!superblock) return broken("superblock", superblock.error());
  Lines lines("superblock");
  lines.add("checksum", "right");
  lines.add("pool", to_text(superblock->pool), " ", quoted(superblock->pool_name));
  lines.add("blob", raw(superblock->blob), " ", to_text(superblock->blob_uuid), " ",
            quoted(superblock->blob_name));
  lines.add("kind", name_of(superblock->kind));
  lines.add("tier", superblock->tier);
  lines.add("size", superblock->size, " bytes");
  lines.add("middle copy at", superblock->middle);
  lines.add("segments", superblock->segment_count, " of ",
            uint64_t{superblock->segment_blocks} * block_size, " bytes");
  lines.add("erase size", superblock->erase_bytes);
  lines.add("created", time_text(superblock->created_ns));
  lines.add("features", "compat ", hex(superblock->compat), " ro_compat ",
            hex(superblock->ro_compat), " incompat ", hex(superblock->incompat));
  return lines.text();
}

std::string describe_segment_header(std::span<const std::byte> block) {
  const auto header = unpack_segment_header(block);
  if (!header) return broken("segment header", header.error());
  Lines lines("segment header");
  lines.add("checksum", "right");
  lines.add("pool", to_text(header->pool));
  lines.add("segment", text_of({header->blob, header->index, header->generation}));
  lines.add("class", name_of(header->kind));
  lines.add("state", name_of(header->state));
  lines.add("epoch", header->epoch);
  lines.add("blocks", header->blocks);
  lines.add("front summary blocks", header->front_blocks);
  lines.add("payload", "from block ",
            payload_begin(header->kind, header->blocks, header->front_blocks), ", used to ",
            header->used_end);
  lines.add("written", time_text(header->wall_ns));
  return lines.text();
}

void add_body(Lines& lines, const RecordBody& body) {
  for (const Entry& entry : body.entries) lines.add("  entry", describe_entry(entry));
  for (size_t i = 0; i < body.checksums.size(); ++i)
    lines.add("  payload checksum", i, " ", hex(body.checksums[i]).substr(10));
}

std::string describe_record(std::span<const std::byte> block, const Secret* secret) {
  SegmentName segment;
  const auto record = decode_record(block, segment);
  if (!record) return broken("record", record.error());
  const RecordHeader& header = record->header;
  const bool good = secret != nullptr && unpack_record(block, *secret, segment, header.at.block);
  Lines lines("record");
  lines.add("checksum", hex(record->checksum), " ", verdict(secret, good));
  lines.add("at", text_of(segment), " block ", header.at.block);
  lines.add("epoch", header.epoch);
  lines.add("durable through", header.durable_through);
  lines.add("written", time_text(header.wall_ns));
  for (const SegmentName& next : header.next) lines.add("next", text_of(next));
  lines.add("checkpoints", "newest ", header.newest_checkpoint, ", oldest backed ",
            header.oldest_backed);
  if (header.starts_epoch)
    lines.add("starts an epoch", "cut at ", header.cut_sequence, " behind ",
              hex(header.cut_checksum));
  lines.add("entries", header.body.first, " to ", header.last());
  add_body(lines, header.body);
  lines.add("record before", text_of(header.previous_at));
  add_body(lines, header.previous);
  return lines.text();
}

std::string describe_summary(std::span<const std::byte> block, const Secret* secret) {
  const auto head = decode_summary_head(block);
  if (!head) return broken("summary", head.error());
  const MetadataPlace& place = head->place;
  bool good = false;
  if (secret != nullptr)
    good = (head->back ? back_summary_blocks(block, *secret, place)
                       : front_summary_blocks(block, *secret, place))
               .has_value();
  Lines lines("summary");
  lines.add("checksum", hex(stored_block_checksum(block)), " ", verdict(secret, good));
  lines.add("at", text_of({place.blob, place.segment, place.generation}), " block ", place.block,
            head->back ? " (back)" : " (front)");
  lines.add("epoch", head->summary.epoch);
  lines.add("blocks", head->blocks);
  lines.add("numbers", head->summary.smallest, " to ", head->summary.largest);
  lines.add("checksum of the payload checksums", hex(head->summary.checksums_sum));
  if (head->summary.second_array != 0)
    lines.add("their second copy", "from block ", head->summary.second_array);
  lines.add("entries", head->entry_count, ", in this block ", head->summary.entries.size());
  for (const Entry& entry : head->summary.entries) lines.add("  entry", describe_entry(entry));
  return lines.text();
}

std::string describe_log_mark(std::span<const std::byte> block, const Secret* secret) {
  MetadataPlace place;
  const auto mark = decode_log_mark(block, place);
  if (!mark) return broken("log mark", mark.error());
  const bool good =
      secret != nullptr && unpack_log_mark(block, *secret, place.blob, place.block).has_value();
  Lines lines("log mark");
  lines.add("checksum", hex(stored_block_checksum(block)), " ", verdict(secret, good));
  lines.add("at", "blob ", raw(place.blob), " block ", place.block, " of the disk");
  lines.add("epoch", mark->epoch);
  lines.add("durable through", mark->durable_through);
  lines.add("written", time_text(mark->wall_ns));
  for (const Entry& entry : mark->repeated) lines.add("  repeats", describe_entry(entry));
  return lines.text();
}

std::string describe_slot(std::span<const std::byte> block, const Secret* secret) {
  MetadataPlace place;
  const auto slot = decode_slot(block, place);
  if (!slot) return broken("checkpoint slot", slot.error());
  const bool good =
      secret != nullptr && unpack_slot(block, *secret, place.blob, place.block).has_value();
  Lines lines("checkpoint slot");
  lines.add("checksum", hex(stored_block_checksum(block)), " ", verdict(secret, good));
  lines.add("at", "blob ", raw(place.blob), " block ", place.block, " of the disk");
  lines.add("checkpoint", slot->number, ", oldest backed ", slot->oldest_backed);
  lines.add("epoch", slot->epoch);
  lines.add("cut", slot->cut);
  lines.add("clean", slot->clean ? "yes" : "no");
  lines.add("log goes on in", text_of(slot->log_segment), " block ", slot->log_block);
  for (const SegmentName& next : slot->log_next) lines.add("next", text_of(next));
  lines.add("last record", hex(slot->last_checksum));
  lines.add("durable through", slot->durable_through);
  lines.add("generation mark", slot->generation_mark);
  lines.add("written", time_text(slot->wall_ns));
  lines.add("tables", slot->tables_bytes, " bytes, checksum ", hex(slot->tables_checksum));
  for (size_t copy = 0; copy < slot->tables.size(); ++copy)
    for (const SlotExtent& run : slot->tables[copy])
      lines.add("  run", "copy ", copy, ": ", text_of(run.segment), " blocks ", run.block, "+",
                run.blocks);
  for (const SlotMember& member : slot->members)
    lines.add("member", raw(member.blob), " ", member.name, " ", to_text(member.uuid), " ",
              name_of(member.kind), " tier ", member.tier, ", ", member.segment_count, " segments",
              member.use == BlobUse::serves ? "" : std::string(", ") + name_of(member.use));
  for (const EpochCut& cut : slot->recent_cuts)
    lines.add("cut of epoch", cut.epoch, " at ", cut.cut);
  return lines.text();
}

}  // namespace

std::string to_text(const Uuid& uuid) {
  std::ostringstream out;
  out << std::hex << std::setfill('0');
  for (size_t i = 0; i < uuid.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out << '-';
    out << std::setw(2) << std::to_integer<int>(uuid[i]);
  }
  return out.str();
}

std::string describe_entry(const Entry& entry) {
  using namespace entry_format;
  const uint32_t fields = fields_of(tag_of(entry));
  std::ostringstream out;
  out << "#" << entry.sequence << " " << name_of(entry.kind);
  const auto has = [&](uint32_t field) { return (fields & field) != 0; };
  if (has(field_node)) out << " " << raw(entry.node);
  if (has(field_device)) out << " device " << raw(entry.device);
  if (has(field_map)) out << " map " << raw(entry.map);
  if (has(field_begin)) out << " blocks " << entry.begin.value << "+" << entry.length.value;
  if (has(field_length) && !has(field_begin)) out << " length " << entry.length.value;
  if (has(field_offset)) out << " at " << entry.offset;
  if (has(field_address)) out << " shares " << text_of(entry.address);
  if (has(field_source_device)) out << " of device " << raw(entry.source_device);
  if (has(field_source_map)) out << " of map " << raw(entry.source_map);
  if (has(field_size_bytes)) out << " size " << entry.size_bytes;
  if (has(field_birth)) out << " birth " << entry.birth;
  if (has(field_checkpoint)) out << " checkpoint " << entry.checkpoint;
  if (has(field_name)) out << " " << quoted(entry.name);
  if (has(field_name2)) out << " to " << quoted(entry.name2);
  if (has(field_value)) out << " value of " << entry.value.size() << " bytes";
  if (entry.removed) out << " removed";
  if (entry.read_only) out << " read-only";
  return out.str();
}

std::string describe_block(std::span<const std::byte> block, const Secret* secret) {
  if (has_magic(block, superblock_magic)) return describe_superblock(block);
  if (has_magic(block, segment_magic)) return describe_segment_header(block);
  if (has_magic(block, record_magic)) return describe_record(block, secret);
  if (has_magic(block, summary_magic)) return describe_summary(block, secret);
  if (has_magic(block, slot_magic)) return describe_slot(block, secret);
  if (has_magic(block, log_mark_magic)) return describe_log_mark(block, secret);
  return {};
}

}  // namespace lamina
