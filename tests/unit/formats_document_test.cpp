// SPDX-License-Identifier: Apache-2.0
// blobs/FORMAT.md says what the headers say: its offset tables, its constants, its entry kinds and
// its hexdump.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>

#include "blobs/entry_format.h"
#include "blobs/frame_format.h"
#include "blobs/layout.h"
#include "blobs/log_mark_format.h"
#include "blobs/record_format.h"
#include "blobs/segment_format.h"
#include "blobs/slot_format.h"
#include "blobs/summary_format.h"
#include "blobs/superblock_format.h"
#include "formats_samples.h"

namespace lamina {
namespace {

struct Field {
  std::string name;
  size_t offset, size;
  friend bool operator==(const Field&, const Field&) = default;
};
std::ostream& operator<<(std::ostream& out, const Field& field) {
  return out << field.offset << "+" << field.size << " " << field.name;
}

struct Struct {
  size_t size;
  std::vector<Field> fields;
};

#define FIELD(Format, field) \
  { #field, offsetof(Format, field), sizeof(Format::field) }

const std::map<std::string, Struct>& structs() {
  using SB = SuperblockFormat;
  using SL = SlotFormat;
  using LM = LogMarkFormat;
  using SG = SegmentHeaderFormat;
  using SM = SummaryFormat;
  using RC = RecordFormat;
  static const std::map<std::string, Struct> all = {
      {"SuperblockFormat",
       {sizeof(SB), {FIELD(SB, magic),          FIELD(SB, version),       FIELD(SB, tier),
                     FIELD(SB, compat),         FIELD(SB, ro_compat),     FIELD(SB, incompat),
                     FIELD(SB, pool),           FIELD(SB, secret),        FIELD(SB, blob_uuid),
                     FIELD(SB, size),           FIELD(SB, middle),        FIELD(SB, created_ns),
                     FIELD(SB, segment_blocks), FIELD(SB, segment_count), FIELD(SB, erase_bytes),
                     FIELD(SB, blob),           FIELD(SB, kind),          FIELD(SB, reserved0),
                     FIELD(SB, pool_name),      FIELD(SB, blob_name),     FIELD(SB, reserved1),
                     FIELD(SB, checksum)}}},
      {"SlotFormat",
       {sizeof(SL),
        {FIELD(SL, magic),           FIELD(SL, version),         FIELD(SL, epoch),
         FIELD(SL, number),          FIELD(SL, oldest_backed),   FIELD(SL, cut),
         FIELD(SL, log_segment),     FIELD(SL, log_block),       FIELD(SL, log_next),
         FIELD(SL, last_checksum),   FIELD(SL, durable_through), FIELD(SL, reserved2),
         FIELD(SL, wall_ns),         FIELD(SL, tables_bytes),    FIELD(SL, tables_checksum),
         FIELD(SL, generation_mark), FIELD(SL, disk_block),      FIELD(SL, blob),
         FIELD(SL, clean),           FIELD(SL, member_count),    FIELD(SL, cut_count),
         FIELD(SL, extent_counts),   FIELD(SL, reserved0),       FIELD(SL, tables),
         FIELD(SL, members),         FIELD(SL, recent_cuts),     FIELD(SL, names),
         FIELD(SL, reserved1),       FIELD(SL, checksum)}}},
      {"LogMarkFormat",
       {sizeof(LM),
        {FIELD(LM, magic), FIELD(LM, version), FIELD(LM, epoch), FIELD(LM, durable_through),
         FIELD(LM, wall_ns), FIELD(LM, disk_block), FIELD(LM, blob), FIELD(LM, entries),
         FIELD(LM, entry_bytes), FIELD(LM, first), FIELD(LM, packed), FIELD(LM, checksum)}}},
      {"SlotExtentFormat",
       {sizeof(SlotExtentFormat),
        {FIELD(SlotExtentFormat, segment), FIELD(SlotExtentFormat, block),
         FIELD(SlotExtentFormat, blocks)}}},
      {"SlotMemberFormat",
       {sizeof(SlotMemberFormat),
        {FIELD(SlotMemberFormat, uuid), FIELD(SlotMemberFormat, tier),
         FIELD(SlotMemberFormat, segment_count), FIELD(SlotMemberFormat, blob),
         FIELD(SlotMemberFormat, kind), FIELD(SlotMemberFormat, use)}}},
      {"EpochCutFormat",
       {sizeof(EpochCutFormat), {FIELD(EpochCutFormat, cut), FIELD(EpochCutFormat, epoch)}}},
      {"SegmentNameFormat",
       {sizeof(SegmentNameFormat),
        {FIELD(SegmentNameFormat, index), FIELD(SegmentNameFormat, generation),
         FIELD(SegmentNameFormat, blob), FIELD(SegmentNameFormat, reserved)}}},
      {"SegmentHeaderFormat",
       {sizeof(SG),
        {FIELD(SG, magic), FIELD(SG, version), FIELD(SG, index), FIELD(SG, pool), FIELD(SG, secret),
         FIELD(SG, generation), FIELD(SG, epoch), FIELD(SG, blocks), FIELD(SG, front_blocks),
         FIELD(SG, used_end), FIELD(SG, blob), FIELD(SG, kind), FIELD(SG, state),
         FIELD(SG, wall_ns), FIELD(SG, addressed), FIELD(SG, reserved), FIELD(SG, checksum)}}},
      {"FrameFormat",
       {sizeof(FrameFormat),
        {FIELD(FrameFormat, magic), FIELD(FrameFormat, frame), FIELD(FrameFormat, bytes),
         FIELD(FrameFormat, blocks), FIELD(FrameFormat, method), FIELD(FrameFormat, reserved),
         FIELD(FrameFormat, stored_checksum), FIELD(FrameFormat, checksum)}}},
      {"SummaryFormat",
       {sizeof(SM),
        {FIELD(SM, magic), FIELD(SM, version), FIELD(SM, epoch), FIELD(SM, index),
         FIELD(SM, generation), FIELD(SM, block), FIELD(SM, blob), FIELD(SM, back),
         FIELD(SM, reserved0), FIELD(SM, smallest), FIELD(SM, largest), FIELD(SM, checksums_sum),
         FIELD(SM, rest_sum), FIELD(SM, blocks), FIELD(SM, entries), FIELD(SM, entry_bytes),
         FIELD(SM, second_array), FIELD(SM, room), FIELD(SM, checksum)}}},
      {"RecordFormat",
       {sizeof(RC),
        {FIELD(RC, magic),
         FIELD(RC, version),
         FIELD(RC, epoch),
         FIELD(RC, index),
         FIELD(RC, generation),
         FIELD(RC, block),
         FIELD(RC, blob),
         FIELD(RC, starts_epoch),
         FIELD(RC, reserved),
         FIELD(RC, durable_through),
         FIELD(RC, wall_ns),
         FIELD(RC, next),
         FIELD(RC, newest_checkpoint),
         FIELD(RC, oldest_backed),
         FIELD(RC, cut_sequence),
         FIELD(RC, cut_checksum),
         FIELD(RC, own),
         FIELD(RC, previous),
         FIELD(RC, previous_generation),
         FIELD(RC, previous_block),
         FIELD(RC, bodies),
         FIELD(RC, checksum)}}},
      {"RecordBodyFormat",
       {sizeof(RecordBodyFormat),
        {FIELD(RecordBodyFormat, first), FIELD(RecordBodyFormat, entries),
         FIELD(RecordBodyFormat, entry_bytes), FIELD(RecordBodyFormat, payload_blocks),
         FIELD(RecordBodyFormat, reserved)}}},
  };
  return all;
}

std::vector<std::string> lines_of_document() {
  std::ifstream file(LAMINA_SOURCE "/blobs/FORMAT.md");
  EXPECT_TRUE(file) << LAMINA_SOURCE;
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

// The cells of a row of a table, without spaces at their ends; none: not a row.
std::vector<std::string> cells(const std::string& line) {
  std::vector<std::string> out;
  if (line.size() < 2 || line[0] != '|') return out;
  std::istringstream in(line.substr(1));
  for (std::string cell; std::getline(in, cell, '|');) {
    const size_t begin = cell.find_first_not_of(' ');
    const size_t end = cell.find_last_not_of(' ');
    out.push_back(begin == std::string::npos ? "" : cell.substr(begin, end - begin + 1));
  }
  return out;
}

bool is_number(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

// The tables under headings such as "### `SlotFormat`".
std::map<std::string, std::vector<Field>> tables_of_document() {
  std::map<std::string, std::vector<Field>> tables;
  std::string heading;
  for (const std::string& line : lines_of_document()) {
    if (line.starts_with("#")) heading = line.starts_with("### `") ? line.substr(5) : "";
    if (heading.ends_with("`")) heading.pop_back();
    const auto row = cells(line);
    if (heading.empty() || row.size() < 3 || !is_number(row[0])) continue;
    tables[heading].push_back({row[2], std::stoul(row[0]), std::stoul(row[1])});
  }
  return tables;
}

TEST(FormatDocument, TheTablesOfOffsetsAreThoseOfTheStructs) {
  const auto tables = tables_of_document();
  EXPECT_EQ(tables.size(), structs().size());
  for (const auto& [name, expected] : structs()) {
    ASSERT_TRUE(tables.contains(name)) << name;
    EXPECT_EQ(tables.at(name), expected.fields) << name;
  }
}

TEST(FormatDocument, TheFieldsCoverEveryByteOfTheStructs) {
  for (const auto& [name, format] : structs()) {
    size_t end = 0;
    for (const Field& field : format.fields) {
      EXPECT_EQ(field.offset, end) << name << " " << field.name;
      end = field.offset + field.size;
    }
    EXPECT_EQ(end, format.size) << name;
  }
}

TEST(FormatDocument, TheConstantsAreThoseOfTheHeaders) {
  const std::map<std::string, uint64_t> constants = {
      {"format_version", format_version},
      {"min_blob_bytes", min_blob_bytes},
      {"edge_bytes", edge_bytes},
      {"slot_ring_offset", slot_ring_offset},
      {"slot_ring_length", slot_ring_length},
      {"min_segment_blocks", min_segment_blocks},
      {"max_segment_blocks", max_segment_blocks},
      {"max_formatted_segments", max_formatted_segments},
      {"max_segments", max_segments},
      {"record_body_limit", record_body_limit},
      {"entry_name_limit", entry_name_limit},
      {"entry_value_limit", entry_value_limit},
      {"slot_max_extents", slot_max_extents},
      {"slot_max_members", slot_max_members},
      {"slot_max_cuts", slot_max_cuts},
  };
  size_t seen = 0;
  for (const std::string& line : lines_of_document()) {
    const auto row = cells(line);
    if (row.size() != 2 || !constants.contains(row[0])) continue;
    ++seen;
    EXPECT_EQ(row[1], std::to_string(constants.at(row[0]))) << row[0];
  }
  EXPECT_EQ(seen, constants.size());
}

TEST(FormatDocument, TheMagicsAreThoseOfTheHeaders) {
  std::map<std::string, std::string> magics;
  for (const std::string& line : lines_of_document()) {
    const auto row = cells(line);
    if (row.size() == 2 && row[0].starts_with("LAMINA")) magics[row[1]] = row[0];
  }
  const auto text = [](const Magic& magic) { return std::string(magic.begin(), magic.end()); };
  const std::map<std::string, std::string> expected = {
      {"superblock", text(superblock_magic)}, {"segment header", text(segment_magic)},
      {"record", text(record_magic)},         {"summary", text(summary_magic)},
      {"checkpoint slot", text(slot_magic)},  {"log mark", text(log_mark_magic)},
  };
  EXPECT_EQ(magics, expected);
}

std::string names_of(uint32_t fields) {
  using namespace entry_format;
  const std::vector<std::pair<uint32_t, const char*>> names = {
      {field_device, "device"},
      {field_map, "map"},
      {field_begin, "begin"},
      {field_length, "length"},
      {field_offset, "offset"},
      {field_address, "address"},
      {field_source_device, "source_device"},
      {field_source_map, "source_map"},
      {field_size_bytes, "size_bytes"},
      {field_node, "node"},
      {field_birth, "birth"},
      {field_checkpoint, "checkpoint"},
      {field_name, "name"},
      {field_name2, "name2"},
      {field_value, "value"},
  };
  std::string out;
  for (const auto& [bit, name] : names)
    if ((fields & bit) != 0) out += (out.empty() ? "" : ", ") + std::string(name);
  return out;
}

TEST(FormatDocument, TheFieldsOfEveryKindOfEntryAreThoseOfTheCode) {
  std::map<uint32_t, std::string> said;
  std::string heading;
  for (const std::string& line : lines_of_document()) {
    if (line.starts_with("#")) heading = line;
    const auto row = cells(line);
    if (heading == "### Entries" && row.size() == 3 && is_number(row[0]))
      said[static_cast<uint32_t>(std::stoul(row[0]))] = row[2];
  }
  std::map<uint32_t, std::string> expected;
  for (uint32_t tag = 0; tag < entry_format::tag_limit; ++tag) {
    const uint32_t fields = entry_format::fields_of(static_cast<uint8_t>(tag));
    if (fields != entry_format::unknown_tag) expected[tag] = names_of(fields);
  }
  EXPECT_EQ(said, expected);
}

RecordHeader record_of_the_document() {
  RecordHeader header = samples::record();
  header.durable_through = 999;
  Entry zero;
  zero.kind = EntryKind::zero;
  zero.sequence = 1002;
  zero.map = MapId{3};
  zero.begin = {4096};
  zero.length = {256};
  Entry resize;
  resize.kind = EntryKind::resize;
  resize.sequence = 1003;
  resize.device = DeviceId{13};
  resize.size_bytes = 10 * gib;
  header.body = {
      1001, {samples::write(1001, 3, 1000000, 2, 11), zero, resize}, {0x11223344, 0x55667788}};
  header.previous = {1000, {samples::write(1000, 3, 4711, 1, 9)}, {0xdeadbeef}};
  return header;
}

// As `hexdump -C` prints it.
std::vector<std::string> hexdump(std::span<const std::byte> bytes) {
  std::vector<std::string> lines;
  char text[32];
  for (size_t at = 0; at < bytes.size(); at += 16) {
    const auto row = bytes.subspan(at, 16);
    if (at > 0 &&
        std::equal(row.begin(), row.end(), bytes.begin() + static_cast<ptrdiff_t>(at) - 16)) {
      if (lines.back() != "*") lines.emplace_back("*");
      continue;
    }
    std::snprintf(text, sizeof text, "%08zx ", at);
    std::string line = text, letters;
    for (size_t i = 0; i < row.size(); ++i) {
      const auto value = std::to_integer<unsigned>(row[i]);
      std::snprintf(text, sizeof text, "%s%02x", i == 8 ? "  " : " ", value);
      line += text;
      letters += value >= 0x20 && value < 0x7f ? static_cast<char>(value) : '.';
    }
    lines.push_back(line + "  |" + letters + "|");
  }
  std::snprintf(text, sizeof text, "%08zx", bytes.size());
  lines.emplace_back(text);
  return lines;
}

TEST(FormatDocument, TheHexdumpIsARealRecord) {
  Buffer block(block_size);
  pack_record(record_of_the_document(), samples::secret(), samples::segment.blob,
              samples::segment.index, block.span());
  std::vector<std::string> said;
  bool inside = false;
  for (const std::string& line : lines_of_document()) {
    if (line.starts_with("00000000  4c")) inside = true;
    if (line.starts_with("```")) inside = false;
    if (inside) said.push_back(line);
  }
  EXPECT_EQ(said, hexdump(block.span()));
}

}  // namespace
}  // namespace lamina
