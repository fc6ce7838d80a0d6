// SPDX-License-Identifier: Apache-2.0
// engine/FORMAT.md says of nodes what engine/maps/node_format.h says.
#include <gtest/gtest.h>

#include <cstddef>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "engine/maps/bits.h"
#include "engine/maps/node.h"
#include "engine/maps/node_format.h"
#include "maps_model.h"

namespace lamina {
namespace {

using node_format::Header;

struct Field {
  std::string name;
  size_t offset, size;
  friend bool operator==(const Field&, const Field&) = default;
};
std::ostream& operator<<(std::ostream& out, const Field& field) {
  return out << field.offset << "+" << field.size << " " << field.name;
}

#define FIELD(field)                                       \
  Field {                                                  \
#field, offsetof(Header, field), sizeof(Header::field) \
  }

// The cells of the rows of all tables below the heading, up to the next one.
std::vector<std::vector<std::string>> rows_below(const std::string& wanted) {
  std::ifstream file(LAMINA_SOURCE "/engine/FORMAT.md");
  EXPECT_TRUE(file) << LAMINA_SOURCE;
  std::vector<std::vector<std::string>> rows;
  std::string heading;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("#")) heading = line;
    if (heading != wanted || !line.starts_with("| ")) continue;
    std::istringstream in(line.substr(1));
    std::vector<std::string>& row = rows.emplace_back();
    for (std::string cell; std::getline(in, cell, '|');) {
      const size_t begin = cell.find_first_not_of(' '), end = cell.find_last_not_of(' ');
      row.push_back(begin == std::string::npos ? "" : cell.substr(begin, end - begin + 1));
    }
  }
  return rows;
}

bool is_number(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

TEST(NodeFormat, TheTableOfOffsetsIsThatOfTheHeader) {
  const std::vector<Field> expected = {
      FIELD(magic),     FIELD(version), FIELD(level),      FIELD(first_key_bits),
      FIELD(rows),      FIELD(id),      FIELD(birth),      FIELD(checkpoint),
      FIELD(map),       FIELD(begin),   FIELD(end),        FIELD(mapped_blocks),
      FIELD(first_key), FIELD(bases),   FIELD(base_bits),  FIELD(address_block_bits),
      FIELD(blob),      FIELD(segment), FIELD(generation), FIELD(block),
      FIELD(reserved)};
  std::vector<Field> found;
  size_t end = 0;
  for (const auto& row : rows_below("### `Header`"))
    if (row.size() >= 3 && is_number(row[0])) {
      found.push_back({row[2], std::stoul(row[0]), std::stoul(row[1])});
      EXPECT_EQ(found.back().offset, end) << row[2];
      end = found.back().offset + found.back().size;
    }
  EXPECT_EQ(found, expected);
  EXPECT_EQ(end, sizeof(Header));
}

TEST(NodeFormat, TheConstantsAreThoseOfTheHeader) {
  const std::map<std::string, size_t> expected = {
      {"group_rows", node_format::group_rows}, {"max_rows", node_format::max_rows},
      {"max_level", node_format::max_level},   {"offset_bits", node_format::offset_bits},
      {"width_bits", node_format::width_bits}, {"patched_bits", node_format::patched_bits},
      {"count_bits", node_format::count_bits}, {"row_bits", node_format::row_bits}};
  std::map<std::string, size_t> found;
  for (const auto& row : rows_below("### `Header`"))
    if (row.size() == 2 && is_number(row[1])) found[row[0]] = std::stoul(row[1]);
  EXPECT_EQ(found, expected);
}

// Reads a packed leaf with nothing but what the document says.
TEST(NodeFormat, ALeafReadsAsTheDocumentSays) {
  Node node;
  node.header = {.id = NodeId{5}, .end = device_end};
  for (uint64_t i = 0; i < 70; ++i) {
    // One wide gap, so that a column has an exception.
    const uint64_t begin = 3 * i + (i > 20 ? 1000000 : 0);
    node.extents.push_back(data_extent(begin, 1 + i % 2, 9, static_cast<uint32_t>(i * 7 % 64)));
  }
  node.extents[66] = zero_extent(node.extents[66].begin.value, node.extents[66].end.value, 44);
  Buffer block(block_size);
  pack_node(node, block.span());
  Header header;
  std::memcpy(&header, block.data(), sizeof header);
  ASSERT_EQ(header.rows.load(), 70u);
  size_t bit = 144 * 8;
  auto take = [&](unsigned width) {
    uint64_t value = 0;
    for (unsigned i = 0; i < width; ++i, ++bit)
      value |= uint64_t{static_cast<unsigned char>(block.data()[bit / 8]) >> (bit % 8) & 1u} << i;
    return value;
  };
  for (size_t group = 0, row = 0; group < 2; ++group) {
    uint64_t begin = header.first_key.load() + take(header.first_key_bits);
    const size_t offset = take(15), rows = group == 0 ? 64 : 6;
    std::vector<std::vector<uint64_t>> columns(5, std::vector<uint64_t>(rows));
    uint64_t bases[5], widths[5], patched[5];
    for (size_t c = 0; c < 5; ++c) {
      bases[c] = header.bases[c].load() + take(header.base_bits[c]);
      widths[c] = take(7);
      patched[c] = take(1);
    }
    const size_t next_entry = bit;
    bit = offset;
    for (size_t c = 0; c < 5; ++c) {
      for (uint64_t& value : columns[c]) value = take(static_cast<unsigned>(widths[c]));
      if (patched[c] != 0) {
        const uint64_t count = take(6), high = take(7);
        ASSERT_GE(count, 1u);
        for (uint64_t e = 0; e < count; ++e) {
          const uint64_t at = take(6);
          columns[c][at] |= take(static_cast<unsigned>(high)) << widths[c];
        }
      }
      for (uint64_t& value : columns[c]) value += bases[c];
    }
    if (group == 0) {
      EXPECT_EQ(patched[0], 1u);
    }
    bit = next_entry;
    for (size_t i = 0; i < rows; ++i, ++row) {
      const Extent& e = node.extents[row];
      if (i > 0) begin += columns[0][i];
      EXPECT_EQ(begin, e.begin.value);
      begin += columns[1][i] + 1;
      EXPECT_EQ(begin, e.end.value);
      if (e.kind == ExtentKind::data) {
        EXPECT_EQ(columns[2][i] >> header.address_block_bits, 9u);
        EXPECT_EQ(columns[2][i] & low_mask(header.address_block_bits), e.address.block);
      } else {
        EXPECT_EQ(columns[4][i], 44u);
      }
      EXPECT_EQ(columns[3][i], e.kind == ExtentKind::data ? 0u : 2u);
    }
  }
}

}  // namespace
}  // namespace lamina
