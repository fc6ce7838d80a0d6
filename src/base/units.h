// SPDX-License-Identifier: Apache-2.0
// The grain of every address and the types that keep places, distances and names apart.
// Thread-safety: plain values.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace lamina {

inline constexpr uint32_t block_shift = 12;
inline constexpr uint32_t block_size = 1u << block_shift;  // bytes; the grain of every address
inline constexpr uint64_t kib = 1024;
inline constexpr uint64_t mib = 1024 * kib;
inline constexpr uint64_t gib = 1024 * mib;
inline constexpr uint64_t tib = 1024 * gib;
inline constexpr uint64_t pib = 1024 * tib;

// A distance between two places of the same kind, in blocks.
struct BlockCount {
  uint64_t value = 0;
  friend auto operator<=>(const BlockCount&, const BlockCount&) = default;
  friend BlockCount operator+(BlockCount a, BlockCount b) { return {a.value + b.value}; }
  friend BlockCount operator-(BlockCount a, BlockCount b) { return {a.value - b.value}; }
  uint64_t bytes() const { return value << block_shift; }
};

// A place counted in blocks. Places of different tags do not mix.
template <class Tag>
struct Place {
  uint64_t value = 0;
  friend auto operator<=>(const Place&, const Place&) = default;
  friend Place operator+(Place p, BlockCount n) { return {p.value + n.value}; }
  friend Place operator-(Place p, BlockCount n) { return {p.value - n.value}; }
  friend BlockCount operator-(Place a, Place b) { return {a.value - b.value}; }
  uint64_t byte_offset() const { return value << block_shift; }
};

using DeviceBlock = Place<struct DeviceTag>;      // a block of a thin device
using PhysicalBlock = Place<struct PhysicalTag>;  // a block of a disk

inline constexpr DeviceBlock device_end{uint64_t{1} << 52};  // past every device: "to infinity" (C3)

// A half-open range of a device.
struct BlockRange {
  DeviceBlock begin, end;
  friend auto operator<=>(const BlockRange&, const BlockRange&) = default;
  BlockCount length() const { return end - begin; }
  bool empty() const { return begin >= end; }
  bool overlaps(const BlockRange& o) const { return begin < o.end && o.begin < end; }
  bool contains(DeviceBlock b) const { return begin <= b && b < end; }
  bool covers(const BlockRange& o) const { return begin <= o.begin && o.end <= end; }
};

enum class DeviceId : uint64_t { none = 0 };     // permanent, the inode number; never reused
enum class MapId : uint64_t { none = 0 };        // what data is written under; never reused (A17)
enum class NodeId : uint64_t { none = 0 };       // a page of a map's tree, found by the node table
enum class BlobId : uint16_t { none = 0xffff };  // place of a blob in the pool's list
enum class Generation : uint32_t { none = 0 };   // one filling of one segment; never reused

using Sequence = uint64_t;          // counts entries, densely, over the whole pool; 0 = before all
using Epoch = uint32_t;             // one life of the log (A3)
using CheckpointNumber = uint64_t;  // 0 = none

template <class Enum>
constexpr auto raw(Enum e) {
  return static_cast<std::underlying_type_t<Enum>>(e);
}

// Where a block lies: the generation is the segment's name, the block counts from its start.
struct Address {
  Generation generation = Generation::none;
  uint32_t block = 0;
  friend auto operator<=>(const Address&, const Address&) = default;
  friend Address operator+(Address a, BlockCount n) {
    return {a.generation, a.block + static_cast<uint32_t>(n.value)};
  }
};

constexpr uint64_t round_up(uint64_t value, uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}
constexpr uint64_t round_down(uint64_t value, uint64_t unit) { return value / unit * unit; }
constexpr uint64_t div_up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit; }

}  // namespace lamina
