// SPDX-License-Identifier: Apache-2.0
#include "tools/inspect.h"

#include <array>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <optional>
#include <sstream>

#include "blobs/describe.h"
#include "blobs/superblock.h"
#include "config/quantity.h"
#include "tools/block_reader.h"
#include "tools/describe_node.h"

namespace lamina {
namespace {

// The secret that keyed checksums are checked with, from whichever edge still has a superblock.
std::optional<Secret> find_secret(const BlockReader& disk, uint64_t part_offset) {
  const uint64_t last = round_down(disk.size(), block_size) - block_size;
  for (const uint64_t offset : {part_offset, last}) {
    const auto block = disk.read(offset);
    if (!block) continue;
    const auto superblock = unpack_superblock(block->span());
    if (superblock) return superblock->secret;
  }
  return std::nullopt;
}

std::string hexdump_of(std::span<const std::byte> bytes, uint64_t offset) {
  constexpr size_t row_bytes = 16;
  std::string text;
  bool repeated = false;
  for (size_t row = 0; row < bytes.size(); row += row_bytes) {
    const auto now = bytes.subspan(row, row_bytes);
    if (row > 0 && std::memcmp(now.data(), bytes.data() + row - row_bytes, row_bytes) == 0) {
      if (!repeated) text += "*\n";
      repeated = true;
      continue;
    }
    repeated = false;
    std::array<char, 24> cell{};
    std::snprintf(cell.data(), cell.size(), "%08llx ",
                  static_cast<unsigned long long>(offset + row));
    text += cell.data();
    std::string letters;
    for (const std::byte each : now) {
      const auto value = std::to_integer<unsigned>(each);
      std::snprintf(cell.data(), cell.size(), " %02x", value);
      text += cell.data();
      letters += value >= 0x20 && value < 0x7f ? static_cast<char>(value) : '.';
    }
    text += "  |" + letters + "|\n";
  }
  return text;
}

// The describers give a title, then "  name: value" lines.
void split_into_fields(Inspected& inspected) {
  std::istringstream lines(inspected.text);
  std::getline(lines, inspected.kind);
  for (std::string line; std::getline(lines, line);) {
    const size_t begin = line.find_first_not_of(' ');
    const size_t colon = line.find(": ");
    if (begin == std::string::npos || colon == std::string::npos) continue;
    inspected.fields.emplace_back(line.substr(begin, colon - begin), line.substr(colon + 2));
  }
}

}  // namespace

Result<Inspected> inspect_block(const std::string& path, uint64_t part_offset, uint64_t offset) {
  auto disk = BlockReader::open(path);
  if (!disk) return forward_error(disk);
  auto block = disk->read(part_offset + offset);
  if (!block) return forward_error(block);
  const auto secret = find_secret(*disk, part_offset);
  Inspected inspected;
  inspected.text = describe_block(block->span(), secret ? &*secret : nullptr);
  if (inspected.text.empty())
    inspected.text = describe_node(block->span(), secret ? &*secret : nullptr);
  if (inspected.text.empty())
    inspected.text = all_zero(block->span())
                         ? "no metadata\n  contents: zeroes\n"
                         : "no metadata\n  contents: payload, or what no lamina wrote\n";
  split_into_fields(inspected);
  inspected.hexdump = hexdump_of(block->span(), part_offset + offset);
  return inspected;
}

Result<BlockPlace> parse_block_place(const std::string& typed) {
  const size_t at = typed.rfind('@');
  if (at == std::string::npos) return BlockPlace{typed, 0};
  BlockPlace place{typed.substr(0, at), 0};
  const std::string number = typed.substr(at + 1);
  if (number.starts_with("0x")) {
    const auto parsed =
        std::from_chars(number.data() + 2, number.data() + number.size(), place.offset, 16);
    if (parsed.ec != std::errc{} || parsed.ptr != number.data() + number.size())
      return fail(Code::invalid, "\"" + number + "\" is not an offset");
  } else {
    const auto offset = parse_size(number);
    if (!offset) return fail(Code::invalid, "the offset: " + offset.error().message);
    place.offset = *offset;
  }
  if (place.path.empty()) return fail(Code::invalid, "expected PATH@OFFSET");
  if (place.offset % block_size != 0)
    return fail(Code::invalid, "the offset " + number +
                                   " is not a multiple of 4096; the block that "
                                   "it lies in is at " +
                                   std::to_string(round_down(place.offset, block_size)));
  return place;
}

}  // namespace lamina
