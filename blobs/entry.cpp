// SPDX-License-Identifier: Apache-2.0
#include "blobs/entry.h"

#include <cstring>
#include <limits>
#include <type_traits>

#include "base/check.h"
#include "blobs/entry_format.h"
#include "blobs/varint.h"

namespace lamina {
namespace {

using namespace entry_format;

// The fields in the order in which they lie on the medium, after the tag and the number.
template <class AnyEntry, class Visit>
void each_field(AnyEntry& entry, Visit&& visit) {
  visit(field_device, entry.device);
  visit(field_map, entry.map);
  visit(field_begin, entry.begin);
  visit(field_length, entry.length);
  visit(field_offset, entry.offset);
  visit(field_address, entry.address);
  visit(field_source_device, entry.source_device);
  visit(field_source_map, entry.source_map);
  visit(field_size_bytes, entry.size_bytes);
  visit(field_node, entry.node);
  visit(field_birth, entry.birth);
  visit(field_checkpoint, entry.checkpoint);
  visit(field_name, entry.name);
  visit(field_name2, entry.name2);
  visit(field_value, entry.value);
}

// The two sinks that an entry is written to: bytes, or only their number.
struct Appender {
  std::vector<std::byte>& out;
  void varint(uint64_t value) { put_varint(out, value); }
  void text(const std::string& value) {
    const auto bytes = std::as_bytes(std::span(value));
    out.insert(out.end(), bytes.begin(), bytes.end());
  }
};
struct Counter {
  size_t size = 0;
  void varint(uint64_t value) { size += varint_size(value); }
  void text(const std::string& value) { size += value.size(); }
};

template <class Sink, class Value>
void put(Sink& sink, const Value& value) {
  if constexpr (std::is_enum_v<Value>) {
    sink.varint(raw(value));
  } else if constexpr (std::is_integral_v<Value>) {
    sink.varint(value);
  } else if constexpr (std::is_same_v<Value, Address>) {
    sink.varint(raw(value.generation));
    sink.varint(value.block);
  } else if constexpr (std::is_same_v<Value, std::string>) {
    sink.varint(value.size());
    sink.text(value);
  } else {
    sink.varint(value.value);
  }
}

template <class Integer>
bool get_integer(std::span<const std::byte>& in, Integer& out) {
  const auto value = get_varint(in);
  if (!value || *value > std::numeric_limits<Integer>::max()) return false;
  out = static_cast<Integer>(*value);
  return true;
}

template <class Value>
bool get(std::span<const std::byte>& in, Value& out) {
  if constexpr (std::is_enum_v<Value>) {
    std::underlying_type_t<Value> number{};
    if (!get_integer(in, number)) return false;
    out = Value{number};
    return true;
  } else if constexpr (std::is_integral_v<Value>) {
    return get_integer(in, out);
  } else if constexpr (std::is_same_v<Value, Address>) {
    return get(in, out.generation) && get_integer(in, out.block);
  } else if constexpr (std::is_same_v<Value, std::string>) {
    uint64_t size = 0;
    if (!get_integer(in, size) || size > in.size()) return false;
    out.assign(reinterpret_cast<const char*>(in.data()), size);
    in = in.subspan(size);
    return true;
  } else {
    return get_integer(in, out.value);
  }
}

bool valid_range(const Entry& entry) {
  if (entry.begin > device_end || entry.length > device_end - entry.begin) return false;
  return entry.length.value > 0 || entry.kind == EntryKind::reserve;
}

bool valid_payload(const Entry& entry) {
  return entry.offset > 0 &&  // block 0 of a segment is its header
         entry.length.value <= std::numeric_limits<uint32_t>::max() - entry.offset;
}

// Twice in its payload.
bool valid_fork_list(const Entry& entry) {
  return entry.size_bytes > 0 && entry.length.value % 2 == 0 &&
         div_up(entry.size_bytes, block_size) == entry.length.value / 2;
}

bool valid_entry_name(const std::string& name) {
  return name.size() <= entry_name_limit && name.find('\0') == std::string::npos;
}

// Whether the values are ones that the engine may meet. Fields that the kind does not have are
// checked where they are packed; unpacking leaves them as they were made.
bool valid(const Entry& entry) {
  const uint32_t fields = fields_of(tag_of(entry));
  if (fields == unknown_tag) return false;
  if (entry.removed && entry.kind != EntryKind::attribute) return false;
  if (entry.read_only && entry.kind != EntryKind::fork) return false;
  if ((fields & field_device) != 0 && entry.device == DeviceId::none) return false;
  if ((fields & field_map) != 0 && entry.map == MapId::none) return false;
  if ((fields & field_begin) != 0 && !valid_range(entry)) return false;
  if ((fields & field_address) != 0 && entry.address.generation == Generation::none) return false;
  if ((fields & field_source_device) != 0 && entry.source_device == DeviceId::none) return false;
  if ((fields & field_node) != 0 && entry.node == NodeId::none) return false;
  if (entry.kind == EntryKind::alias && entry.source_map == MapId::none) return false;
  if (has_payload(entry) && !valid_payload(entry)) return false;
  if (is_fork_list(entry) && !valid_fork_list(entry)) return false;
  return valid_entry_name(entry.name) && valid_entry_name(entry.name2) &&
         entry.value.size() <= entry_value_limit;
}

template <class Sink>
void write_entry(const Entry& entry, Sequence base, Sink& sink) {
  const uint8_t tag = tag_of(entry);
  const uint32_t fields = fields_of(tag);
  sink.varint(tag);
  sink.varint(entry.sequence - base);
  each_field(entry, [&](uint32_t field, const auto& value) {
    if ((fields & field) != 0) put(sink, value);
  });
}

// What its kind cannot say would be lost without a word.
void check_can_be_packed(const Entry& entry, Sequence base) {
  LAMINA_CHECK(entry.sequence >= base);
  LAMINA_CHECK(valid(entry));
  const uint32_t fields = fields_of(tag_of(entry));
  each_field(entry, [&](uint32_t field, const auto& value) {
    if ((fields & field) == 0) LAMINA_CHECK(value == std::remove_cvref_t<decltype(value)>{});
  });
}

}  // namespace

bool is_fork_list(const Entry& entry) {
  return entry.kind == EntryKind::fork && entry.length.value > 0;
}

bool has_payload(const Entry& entry) {
  return entry.kind == EntryKind::write || (tag_of(entry) & tag_in_payload) != 0;
}

void pack_entry(const Entry& entry, Sequence base, std::vector<std::byte>& out) {
  check_can_be_packed(entry, base);
  Appender sink{out};
  write_entry(entry, base, sink);
}

size_t packed_entry_size(const Entry& entry, Sequence base) {
  Counter sink;
  write_entry(entry, base, sink);
  return sink.size;
}

Result<Entry> unpack_entry(std::span<const std::byte>& in, Sequence base) {
  std::span<const std::byte> rest = in;
  const auto tag = get_varint(rest);
  const auto delta = get_varint(rest);
  if (!tag || !delta) return fail(Code::corrupt, "an entry is cut short");
  if (*tag >= tag_limit) return fail(Code::corrupt, "an entry of an unknown kind");
  const uint32_t fields = fields_of(static_cast<uint8_t>(*tag));
  if (fields == unknown_tag) return fail(Code::corrupt, "an entry of an unknown kind");
  if (*delta > std::numeric_limits<Sequence>::max() - base)
    return fail(Code::corrupt, "an entry with a number out of range");
  Entry entry;
  entry.kind = static_cast<EntryKind>(*tag & tag_kind_mask);
  entry.removed = entry.kind == EntryKind::attribute && (*tag & tag_removed) != 0;
  entry.read_only = entry.kind == EntryKind::fork && (*tag & tag_read_only) != 0;
  entry.sequence = base + *delta;
  bool whole = true;
  each_field(entry, [&](uint32_t field, auto& value) {
    if (whole && (fields & field) != 0) whole = get(rest, value);
  });
  if (!whole) return fail(Code::corrupt, "an entry is cut short or has a value out of range");
  // The tag must be the one that these values are packed with.
  if (tag_of(entry) != *tag || !valid(entry))
    return fail(Code::corrupt, "an entry has a value out of range");
  in = rest;
  return entry;
}

}  // namespace lamina
