// SPDX-License-Identifier: Apache-2.0
// A page of a checkpoint's tables as it lies on the medium. FORMAT.md explains it.
#pragma once

#include <array>
#include <cstddef>

#include "blobs/block_format.h"

namespace lamina::tables_format {

inline constexpr Magic magic{'L', 'A', 'M', 'I', 'N', 'A', 'T', 'B'};

struct Page {
  Magic magic;
  le32 version;
  le32 epoch;       // in which it was written
  le64 checkpoint;  // that wrote it
  le64 cut;         // every entry up to here is in it
  le32 index;       // of this page in the stream
  le32 count;       // pages of the stream
  le32 used;        // bytes of the stream in this page
  le32 reserved;
  std::array<unsigned char, 4040> bytes;
  le64 checksum;  // keyed
};

static_assert(is_block_format<Page>);
static_assert(offsetof(Page, version) == 8);
static_assert(offsetof(Page, epoch) == 12);
static_assert(offsetof(Page, checkpoint) == 16);
static_assert(offsetof(Page, cut) == 24);
static_assert(offsetof(Page, index) == 32);
static_assert(offsetof(Page, count) == 36);
static_assert(offsetof(Page, used) == 40);
static_assert(offsetof(Page, reserved) == 44);
static_assert(offsetof(Page, bytes) == 48);
static_assert(offsetof(Page, checksum) == block_checksum_offset);

}  // namespace lamina::tables_format
