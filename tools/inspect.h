// SPDX-License-Identifier: Apache-2.0
// Any block of metadata of a pool in words, by the unpackers that the engine uses. Works on a pool
// that is mounted, too; what is read may then be changing.
// Thread-safety: one thread. Errors: those of the block reader; invalid, an offset that is none.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace lamina {

struct Inspected {
  std::string kind;  // "superblock", "record", "node", ...; "no metadata"
  std::vector<std::pair<std::string, std::string>> fields;  // in order; names repeat
  std::string text;                                         // the same for people
  std::string hexdump;  // rows of 16 bytes, repeated rows as one "*"
};

// `path`: the disk or file that the block lies on; `part_offset`: where the blob begins on it.
Result<Inspected> inspect_block(const std::string& path, uint64_t part_offset, uint64_t offset);

// "PATH@OFFSET" as typed: an offset in bytes, as a size (64K) or hexadecimal (0x10000).
struct BlockPlace {
  std::string path;
  uint64_t offset = 0;
};
Result<BlockPlace> parse_block_place(const std::string& typed);

}  // namespace lamina
