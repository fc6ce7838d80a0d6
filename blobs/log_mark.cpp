// SPDX-License-Identifier: Apache-2.0
#include "blobs/log_mark.h"

#include <algorithm>
#include <utility>

#include "blobs/log_mark_format.h"

namespace lamina {
namespace {

bool valid(const LogMark& mark) {
  Sequence before = 0;
  for (const Entry& entry : mark.repeated) {
    if (!is_repeated(entry) || entry.sequence <= before) return false;
    before = entry.sequence;
  }
  return mark.durable_through > 0 && before <= mark.durable_through;
}

}  // namespace

const size_t log_mark_room = sizeof(LogMarkFormat::packed);

bool is_repeated(const Entry& entry) {
  switch (entry.kind) {
    case EntryKind::create:
    case EntryKind::unlink:
    case EntryKind::drop:
    case EntryKind::rename:
    case EntryKind::resize:
    case EntryKind::new_map:
    case EntryKind::alias:
    case EntryKind::origin:
      return true;
    case EntryKind::attribute:
    case EntryKind::fork:
      return !has_payload(entry);
    default:
      return false;
  }
}

size_t bytes_in_log_mark(const Entry& entry) {
  return packed_entry_size(entry, 0);
}

void pack_log_mark(const LogMark& mark, const Secret& secret, BlobId blob, uint32_t disk_block,
                   std::span<std::byte> block) {
  LAMINA_CHECK(valid(mark));
  const Sequence first = mark.repeated.empty() ? 0 : mark.repeated.front().sequence;
  std::vector<std::byte> packed;
  for (const Entry& entry : mark.repeated) pack_entry(entry, first, packed);
  LAMINA_CHECK(packed.size() <= log_mark_room);
  LogMarkFormat format{};
  format.magic = log_mark_magic;
  format.version.store(format_version);
  format.epoch.store(mark.epoch);
  format.durable_through.store(mark.durable_through);
  format.wall_ns.store(mark.wall_ns);
  format.disk_block.store(disk_block);
  format.blob.store(raw(blob));
  format.entries.store(static_cast<uint16_t>(mark.repeated.size()));
  format.entry_bytes.store(static_cast<uint16_t>(packed.size()));
  format.first.store(first);
  std::ranges::copy(packed, std::as_writable_bytes(std::span(format.packed)).begin());
  store_block(format, block);
  store_block_checksum(block, keyed_block_checksum(block, secret, place_outside(blob, disk_block)));
}

Result<LogMark> decode_log_mark(std::span<const std::byte> block, MetadataPlace& place) {
  if (!has_magic(block, log_mark_magic)) return fail(Code::corrupt, "no log mark");
  const auto format = load_block<LogMarkFormat>(block);
  if (format.version.load() != format_version)
    return fail(Code::unsupported, "log mark: of a format that a newer lamina made");
  place = place_outside(BlobId{format.blob.load()}, format.disk_block.load());
  LogMark mark{format.epoch.load(), format.durable_through.load(), format.wall_ns.load(), {}};
  const size_t bytes = format.entry_bytes.load();
  const Sequence first = format.first.load();
  const auto out_of_range = fail(Code::corrupt, "log mark: a field is out of range");
  if (bytes > log_mark_room) return out_of_range;
  const std::span<const std::byte> packed = std::as_bytes(std::span(format.packed));
  std::span<const std::byte> entries = packed.first(bytes);
  for (size_t i = 0; i < format.entries.load(); ++i) {
    auto entry = unpack_entry(entries, first);
    if (!entry) return forward_error(entry);
    mark.repeated.push_back(std::move(*entry));
  }
  const Sequence told = mark.repeated.empty() ? 0 : mark.repeated.front().sequence;
  if (!valid(mark) || told != first || !entries.empty() || !all_zero(packed.subspan(bytes)))
    return out_of_range;
  return mark;
}

Result<LogMark> unpack_log_mark(std::span<const std::byte> block, const Secret& secret, BlobId blob,
                                uint32_t disk_block) {
  MetadataPlace claimed;
  auto mark = decode_log_mark(block, claimed);
  if (!mark) return mark;
  const MetadataPlace place = place_outside(blob, disk_block);
  if (claimed.blob != blob || claimed.block != disk_block ||
      stored_block_checksum(block) != keyed_block_checksum(block, secret, place))
    return fail(Code::corrupt, "log mark: it does not match its checksum and place");
  return mark;
}

}  // namespace lamina
