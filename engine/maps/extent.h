// SPDX-License-Identifier: Apache-2.0
// One entry of a map: what a range of a device is. What no extent covers was never written and
// reads as zeroes.
// Thread-safety: plain values.
#pragma once

#include <cstdint>

#include "base/units.h"
#include "blobs/origin.h"

namespace lamina {

enum class ExtentKind : uint8_t {
  data = 0,  // at `address`
  zero = 1,  // reads as zeroes; hides what was there; has a home
  lost = 2,  // reads EIO (B6); has a home
};

struct Extent {
  DeviceBlock begin{}, end{};
  ExtentKind kind = ExtentKind::data;
  bool alias = false;     // data that was shared by a copy: it has a home of its own (C2)
  bool reserved = false;  // zero that draws on the device's reservation when written (D8)
  // Layers only: a zero over something that this layer knows was written. A merge keeps it even
  // where the tree below has nothing, because older data of it is on the medium (C4).
  bool certain = false;
  Address address{};                   // data: of the first block
  Generation home = Generation::none;  // zero, lost, alias: the segment that states it

  // Whether it keeps blocks of segments in use: data that lies in the pool, not in an image that is
  // read through (C7).
  bool stored() const { return kind == ExtentKind::data && !is_origin(address); }
  BlockRange range() const { return {begin, end}; }
  BlockCount length() const { return end - begin; }
  friend bool operator==(const Extent&, const Extent&) = default;
};

// The part of `extent` inside [begin, end), addresses moved along. Asserts that they overlap.
Extent clip(const Extent& extent, DeviceBlock begin, DeviceBlock end);

// Whether `right` goes on where `left` ends, so that one extent says both (F10): same kind, flags
// and home, contiguous in the device and, for data, in one segment.
bool continues(const Extent& left, const Extent& right);

}  // namespace lamina
