// SPDX-License-Identifier: Apache-2.0
// A page of a checkpoint's tables as it lies on the medium. FORMAT.md explains it.
#pragma once

#include <cstddef>
#include <type_traits>

#include "base/endian.h"
#include "base/units.h"

namespace lamina::format {

inline constexpr uint64_t tables_page_magic = 0x304c'4254'4e4d'414c;  // "LAMNTBL0"

struct TablesPageHeader {
  le64 magic;       // tables_page_magic
  le64 checkpoint;  // that wrote it
  le64 cut;         // every entry up to here is in it
  le32 epoch;       // in which it was written
  le32 index;       // of this page in the stream
  le32 count;       // pages of the stream
  le32 used;        // bytes of the stream in this page
  le64 reserved;    // zero
  le64 checksum;    // keyed, of the block with this field zero
};

static_assert(sizeof(TablesPageHeader) == 56);
static_assert(offsetof(TablesPageHeader, checksum) == 48);
static_assert(std::has_unique_object_representations_v<TablesPageHeader>);

}  // namespace lamina::format
