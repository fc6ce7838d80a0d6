// SPDX-License-Identifier: Apache-2.0
// One line of a record or a summary: what happened to which range of which map id, or to which
// device. Sequence numbers count entries, densely, over the whole pool.
// Thread-safety: plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/units.h"

namespace lamina {

// Values are on the medium; never reuse one. Kinds marked * say something about the range
// [begin, begin+length) of `map`; kinds marked + carry `length` blocks of payload in the segment,
// starting at block `offset` of it.
enum class EntryKind : uint8_t {
  write = 1,       // *+ data
  zero = 2,        // *  reads as zeroes; erase and zero writes; length may reach device_end (C3)
  alias = 3,       // *  shares the data at `address`, which source_map had then (C2)
  lost = 4,        // *  reads EIO (B6)
  create = 5,      //    device, map, size_bytes, name, value = packed attributes (mode, owner,
                   //    times, whether read-only)
  unlink = 6,      //    device, name: the name goes (C6)
  drop = 7,        //    device, map: nothing of it is wanted any more (C6)
  rename = 8,      //    device, name, name2; over another device's name is this one entry (C6)
  resize = 9,      //    device, size_bytes
  new_map = 10,    //    device, map, source_map (none, or what it was forked from), size_bytes:
                   //    O_TRUNC,
                   //    rollback, copied over (A17)
  attribute = 11,  //  + device, name, value inline, or in payload when `length` > 0, then
                   //    size_bytes is its length; name alone: removed (flag `removed`)
  metadata = 12,   //    device, value = packed attributes (mode, owner, times)
  reserve = 13,    // *  device, map; range is preallocated; size_bytes = the counter after it (D8)
  fork = 14,       //  + device (new), map (new), source_device, source_map, name, whether
                   //    `read_only`; or, where `length` > 0, several of these at one point, in the
                   //    payload: size_bytes is their length there (fork_list.h)
  node = 15,       //    in summaries of node segments: node, birth, checkpoint at `offset`
  nothing = 16,    //    witnesses durable-through after a flush (B5)
  origin = 17,     //    address = the origin's, value = where it is and what it was (origin.h); one
                   //    that is known is stated anew (C7)
};

inline constexpr size_t entry_name_limit = 255;    // bytes of `name` and `name2`; no NUL among them
inline constexpr size_t entry_value_limit = 1024;  // bytes of `value`; longer ones go to payload

// Fields that a kind does not list above stay as they are made here: they have no place on the
// medium, and packing an entry that sets one is a bug that an assertion stops.
struct Entry {
  EntryKind kind = EntryKind::nothing;
  Sequence sequence = 0;
  MapId map = MapId::none;
  DeviceBlock begin{};
  BlockCount length{};
  uint32_t offset = 0;  // first payload block in the segment that this entry lies in
  Address address{};    // alias: where the shared data is
  DeviceId device = DeviceId::none;
  DeviceId source_device = DeviceId::none;
  MapId source_map = MapId::none;
  uint64_t size_bytes = 0;
  bool removed = false;    // attribute: it was removed
  bool read_only = false;  // fork: nobody is to write to the new device
  NodeId node = NodeId::none;
  Sequence birth = 0;
  CheckpointNumber checkpoint = 0;
  std::string name, name2;
  std::string value;

  friend bool operator==(const Entry&, const Entry&) = default;
};

// Whether it owns `length` blocks of payload.
bool has_payload(const Entry& entry);
// Whether it is a fork of several devices, which its payload names.
bool is_fork_list(const Entry& entry);

// Appends the packed form to `out`. Asserts what unpack_entry checks. `base` is the first sequence
// number of the record or the smallest of the summary. A small write costs some 10 bytes.
void pack_entry(const Entry& entry, Sequence base, std::vector<std::byte>& out);
// Bytes that pack_entry would append.
size_t packed_entry_size(const Entry& entry, Sequence base);
// Takes one entry off the front of `in`. Error corrupt: it does not decode, or decodes to values
// out of range (kind, lengths, names over 255 bytes, begin + length past device_end).
Result<Entry> unpack_entry(std::span<const std::byte>& in, Sequence base);

}  // namespace lamina
