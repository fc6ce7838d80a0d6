// SPDX-License-Identifier: Apache-2.0
#include "blobs/record.h"

#include <limits>
#include <string>

#include "blobs/record_format.h"
#include "blobs/segment_format.h"

namespace lamina {
namespace {

// Half of the room each, so that the next header can always repeat what this one says.
constexpr size_t body_limit = sizeof(RecordFormat::bodies) / 2;

// The largest entry that is not a write fits a record of its own: tag, number, eight varints.
static_assert(2 * entry_name_limit + entry_value_limit + 100 <= body_limit);
// Names of entries stay far from the end of the numbers, so that adding to them cannot wrap.
constexpr Sequence sequence_limit = Sequence{1} << 62;

MetadataPlace place_of(const SegmentName& segment, uint32_t block) {
  return {segment.blob, segment.index, segment.generation, block};
}

// Whether every payload lies where the record at `at` has its own.
bool payload_in_place(const RecordBody& body, const Address& at) {
  const uint64_t begin = uint64_t{at.block} + 1;
  const uint64_t end = begin + body.checksums.size();
  for (const Entry& entry : body.entries) {
    if (!has_payload(entry)) continue;
    if (entry.offset < begin || entry.offset + entry.length.value > end) return false;
  }
  return true;
}

bool dense(const RecordBody& body) {
  for (size_t i = 0; i < body.entries.size(); ++i)
    if (body.entries[i].sequence != body.first + i) return false;
  return true;
}

bool valid_body(const RecordBody& body, const Address& at) {
  return body.first > 0 && body.first < sequence_limit && !body.entries.empty() && dense(body) &&
         at.generation != Generation::none && at.block > 0 && at.block < max_segment_blocks &&
         payload_in_place(body, at);
}

bool valid_previous(const RecordHeader& header) {
  if (header.previous.entries.empty())
    return header.previous == RecordBody{} && header.previous_at == Address{};
  return valid_body(header.previous, header.previous_at);
}

bool valid(const RecordHeader& header) {
  const bool cut_is_sound =
      header.starts_epoch || (header.cut_sequence == 0 && header.cut_checksum == 0);
  return valid_body(header.body, header.at) && valid_previous(header) && cut_is_sound &&
         header.durable_through < header.body.first && header.cut_sequence < header.body.first &&
         header.oldest_backed <= header.newest_checkpoint;
}

RecordBodyFormat pack_body(const RecordBody& body, std::vector<std::byte>& out) {
  const size_t begin = out.size();
  for (const uint32_t sum : body.checksums) {
    le32 packed;
    packed.store(sum);
    const auto bytes = std::as_bytes(std::span(packed.bytes));
    out.insert(out.end(), bytes.begin(), bytes.end());
  }
  const size_t entries_begin = out.size();
  for (const Entry& entry : body.entries) pack_entry(entry, body.first, out);
  LAMINA_CHECK(out.size() - begin <= body_limit);
  RecordBodyFormat format{};
  format.first.store(body.first);
  format.entries.store(static_cast<uint16_t>(body.entries.size()));
  format.entry_bytes.store(static_cast<uint16_t>(out.size() - entries_begin));
  format.payload_blocks.store(static_cast<uint16_t>(body.checksums.size()));
  return format;
}

// Takes a body off the front of `in`.
Result<RecordBody> unpack_body(const RecordBodyFormat& format, std::span<const std::byte>& in) {
  const size_t sum_bytes = size_t{format.payload_blocks.load()} * sizeof(le32);
  const size_t entry_bytes = format.entry_bytes.load();
  const size_t count = format.entries.load();
  if (format.reserved.load() != 0 || sum_bytes + entry_bytes > body_limit ||
      sum_bytes + entry_bytes > in.size() || count > entry_bytes)
    return fail(Code::corrupt, "record: a length is out of range");
  RecordBody body;
  body.first = format.first.load();
  body.checksums.resize(format.payload_blocks.load());
  for (size_t i = 0; i < body.checksums.size(); ++i) {
    le32 packed;
    std::memcpy(&packed, in.data() + i * sizeof packed, sizeof packed);
    body.checksums[i] = packed.load();
  }
  auto entries = in.subspan(sum_bytes, entry_bytes);
  body.entries.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    auto entry = unpack_entry(entries, body.first);
    if (!entry) return forward_error(entry);
    body.entries.push_back(std::move(*entry));
  }
  if (!entries.empty()) return fail(Code::corrupt, "record: bytes behind the last entry");
  in = in.subspan(sum_bytes + entry_bytes);
  return body;
}

void pack_fields(const RecordHeader& header, RecordFormat& format) {
  format.magic = record_magic;
  format.version.store(format_version);
  format.epoch.store(header.epoch);
  format.generation.store(raw(header.at.generation));
  format.block.store(header.at.block);
  format.starts_epoch = header.starts_epoch ? 1 : 0;
  format.durable_through.store(header.durable_through);
  format.wall_ns.store(header.wall_ns);
  for (size_t i = 0; i < header.next.size(); ++i) format.next[i] = pack_name(header.next[i]);
  format.newest_checkpoint.store(header.newest_checkpoint);
  format.oldest_backed.store(header.oldest_backed);
  format.cut_sequence.store(header.cut_sequence);
  format.cut_checksum.store(header.cut_checksum);
  format.previous_generation.store(raw(header.previous_at.generation));
  format.previous_block.store(header.previous_at.block);
}

// False: out of range.
bool unpack_fields(const RecordFormat& format, RecordHeader& header) {
  header.epoch = format.epoch.load();
  header.at = {Generation{format.generation.load()}, format.block.load()};
  header.starts_epoch = format.starts_epoch != 0;
  header.durable_through = format.durable_through.load();
  header.wall_ns = format.wall_ns.load();
  header.newest_checkpoint = format.newest_checkpoint.load();
  header.oldest_backed = format.oldest_backed.load();
  header.cut_sequence = format.cut_sequence.load();
  header.cut_checksum = format.cut_checksum.load();
  header.previous_at = {Generation{format.previous_generation.load()},
                        format.previous_block.load()};
  for (size_t i = 0; i < header.next.size(); ++i)
    if (!unpack_name(format.next[i], header.next[i])) return false;
  return format.starts_epoch <= 1 && format.reserved == 0;
}

}  // namespace

const size_t record_body_limit = body_limit;

size_t record_body_bytes(size_t packed_entries, size_t payload_blocks) {
  return packed_entries + payload_blocks * sizeof(le32);
}

uint64_t pack_record(const RecordHeader& header, const Secret& secret, BlobId blob, uint32_t index,
                     std::span<std::byte> block) {
  LAMINA_CHECK(valid(header));
  RecordFormat format{};
  pack_fields(header, format);
  format.index.store(index);
  format.blob.store(raw(blob));
  std::vector<std::byte> bodies;
  bodies.reserve(sizeof format.bodies);
  format.own = pack_body(header.body, bodies);
  format.previous = pack_body(header.previous, bodies);
  LAMINA_CHECK(bodies.size() <= sizeof format.bodies);
  std::memcpy(format.bodies.data(), bodies.data(), bodies.size());
  store_block(format, block);
  const MetadataPlace place{blob, index, header.at.generation, header.at.block};
  const uint64_t checksum = keyed_block_checksum(block, secret, place);
  store_block_checksum(block, checksum);
  return checksum;
}

Result<UnpackedRecord> decode_record(std::span<const std::byte> block, SegmentName& segment) {
  if (!has_magic(block, record_magic)) return fail(Code::corrupt, "no record");
  const auto format = load_block<RecordFormat>(block);
  if (format.version.load() != format_version)
    return fail(Code::unsupported, "record: of a format that a newer lamina made");
  UnpackedRecord record;
  record.checksum = format.checksum.load();
  RecordHeader& header = record.header;
  if (!unpack_fields(format, header)) return fail(Code::corrupt, "record: a value is out of range");
  segment = {BlobId{format.blob.load()}, format.index.load(), header.at.generation};
  std::span<const std::byte> bodies = std::as_bytes(std::span(format.bodies));
  auto own = unpack_body(format.own, bodies);
  if (!own) return forward_error(own);
  header.body = std::move(*own);
  auto previous = unpack_body(format.previous, bodies);
  if (!previous) return forward_error(previous);
  header.previous = std::move(*previous);
  if (!all_zero(bodies) || !valid(header))
    return fail(Code::corrupt, "record: a value is out of range");
  return record;
}

Result<UnpackedRecord> unpack_record(std::span<const std::byte> block, const Secret& secret,
                                     const SegmentName& segment, uint32_t block_in_segment) {
  if (!has_magic(block, record_magic)) return fail(Code::corrupt, "no record");
  const MetadataPlace place = place_of(segment, block_in_segment);
  if (stored_block_checksum(block) != keyed_block_checksum(block, secret, place))
    return fail(Code::corrupt, "record: the checksum is wrong");
  SegmentName said;
  auto record = decode_record(block, said);
  if (!record) return record;
  if (said != segment || record->header.at.block != block_in_segment)
    return fail(Code::corrupt, "record: it names another place");
  return record;
}

}  // namespace lamina
