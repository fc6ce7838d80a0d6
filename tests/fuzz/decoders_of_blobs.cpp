// SPDX-License-Identifier: Apache-2.0
// What lies outside of nodes and tables: blobs/FORMAT.md.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "blobs/describe.h"
#include "blobs/fork_list.h"
#include "blobs/frame.h"
#include "blobs/frame_format.h"
#include "blobs/origin.h"
#include "decoders.h"
#include "tests/unit/formats_structures.h"

namespace lamina::fuzz {
namespace {

using namespace samples;

// So many blocks of it, with zeroes behind what there is.
Buffer blocks_of(std::span<const std::byte> bytes, size_t blocks) {
  Buffer buffer(blocks * block_size);
  std::ranges::fill(buffer.span(), std::byte{});
  std::ranges::copy(bytes.first(std::min(bytes.size(), buffer.size())), buffer.data());
  return buffer;
}

void describe(std::span<const std::byte> block) {
  const Secret key = secret();
  (void)describe_block(block, &key);
  (void)describe_block(block, nullptr);
}

// `stamp` makes the checksum fit; `unpack` and `pack` are the pair.
template <class Stamp, class Unpack, class Pack>
void decode_block(std::span<const std::byte> bytes, Stamp stamp, Unpack unpack, Pack pack) {
  Buffer block = blocks_of(bytes, 1);
  describe(block.span());
  stamp(block.span());
  describe(block.span());
  const auto value = unpack(std::span<const std::byte>(block.span()));
  if (!value) return;
  Buffer again(block_size);
  pack(*value, again.span());
  const auto back = unpack(std::span<const std::byte>(again.span()));
  LAMINA_CHECK(back && *back == *value);
}

void decode_superblock(std::span<const std::byte> bytes) {
  decode_block(bytes, stamp_plain, unpack_superblock, pack_superblock);
}

void decode_segment_header(std::span<const std::byte> bytes) {
  decode_block(bytes, stamp_plain, unpack_segment_header, pack_segment_header);
}

void decode_log_mark_block(std::span<const std::byte> bytes) {
  decode_block(
      bytes, [](std::span<std::byte> block) { stamp_keyed(block, slot_place); },
      [](std::span<const std::byte> block) {
        return unpack_log_mark(block, secret(), BlobId{1}, 17);
      },
      [](const LogMark& mark, std::span<std::byte> block) {
        pack_log_mark(mark, secret(), BlobId{1}, 17, block);
      });
}

void decode_slot_block(std::span<const std::byte> bytes) {
  decode_block(
      bytes, [](std::span<std::byte> block) { stamp_keyed(block, slot_place); },
      [](std::span<const std::byte> block) { return unpack_slot(block, secret(), BlobId{1}, 17); },
      [](const Slot& slot, std::span<std::byte> block) {
        pack_slot(slot, secret(), BlobId{1}, 17, block);
      });
}

void decode_record_block(std::span<const std::byte> bytes) {
  decode_block(
      bytes, [](std::span<std::byte> block) { stamp_keyed(block, record_place); },
      [](std::span<const std::byte> block) -> Result<RecordHeader> {
        auto record = unpack_record(block, secret(), segment, record_block);
        if (!record) return forward_error(record);
        return std::move(record->header);
      },
      [](const RecordHeader& header, std::span<std::byte> block) {
        pack_record(header, secret(), segment.blob, segment.index, block);
      });
}

// A summary of three blocks.
void decode_summary(std::span<const std::byte> bytes, bool back) {
  constexpr uint32_t count = 3;
  Buffer blocks = blocks_of(bytes, count);
  const std::span<std::byte> all = blocks.span();
  const MetadataPlace place = back ? back_place : front_place;
  stamp_summary(all, back);
  const auto header = back ? all.last(block_size) : all.first(block_size);
  describe(header);
  if (back)
    (void)back_summary_blocks(
        header, secret(), {place.blob, place.segment, place.generation, place.block + count - 1});
  else
    (void)front_summary_blocks(header, secret(), place);
  const auto summary = unpack_summary(all, secret(), place, back);
  if (!summary) return;
  Buffer again(uint64_t{count} * block_size);
  pack_summary(*summary, secret(), place, back, again.span());
  const auto same = unpack_summary(again.span(), secret(), place, back);
  LAMINA_CHECK(same && *same == *summary);
}

std::span<std::byte> stored_part(std::span<std::byte> frame) {
  FrameFormat format;
  std::memcpy(&format, frame.data(), sizeof format);
  const size_t head = sizeof format + size_t{format.blocks} * sizeof(le32);
  if (format.blocks > frame_blocks || head > frame.size()) return {};
  const auto rest = frame.subspan(head);
  return rest.first(std::min<size_t>(rest.size(), format.bytes.load()));
}

void decode_frame(std::span<const std::byte> bytes) {
  const MetadataPlace place{BlobId{2}, 7, Generation{41}, 5};
  Bytes frame(bytes.begin(), bytes.end());
  (void)frame_length(frame, secret(), place);
  if (frame.size() < sizeof(FrameFormat)) return;
  FrameFormat format;
  std::memcpy(&format, frame.data(), sizeof format);
  format.stored_checksum.store(plain_checksum(stored_part(frame)));
  std::memcpy(frame.data(), &format, sizeof format);
  if (!stored_part(frame).empty()) stamp_frame(frame, secret(), place);
  (void)frame_length(frame, secret(), place);
  (void)whole_frame(frame, secret(), place);
  static FrameCodec codec;
  const auto decoded = codec.decode(frame, secret(), place);
  if (!decoded) return;
  LAMINA_CHECK(decoded->data.size() == decoded->blocks() * block_size);
  for (uint32_t i = 0; i < decoded->blocks(); ++i) (void)decoded->good(i);
}

void decode_entries(std::span<const std::byte> bytes) {
  constexpr Sequence base = 1000;
  while (!bytes.empty()) {
    const auto entry = unpack_entry(bytes, base);
    if (!entry) return;
    (void)describe_entry(*entry);
    Bytes packed;
    pack_entry(*entry, base, packed);
    LAMINA_CHECK(packed.size() == packed_entry_size(*entry, base));
    std::span<const std::byte> again(packed);
    const auto same = unpack_entry(again, base);
    LAMINA_CHECK(same && *same == *entry && again.empty());
    if (entry->kind == EntryKind::origin) (void)unpack_origin(*entry);
  }
}

void decode_fork_list(std::span<const std::byte> bytes) {
  Entry entry = all_kinds(1000, 11)[15];
  entry.sequence = 0;
  entry.length = {2};
  entry.size_bytes = bytes.size();
  const auto forks = unpack_fork_list(entry, bytes);
  if (!forks) return;
  const ForkList list = pack_fork_list(*forks);
  entry.size_bytes = list.size_bytes;
  const auto again = unpack_fork_list(entry, std::as_bytes(std::span(list.payload)));
  LAMINA_CHECK(again && *again == *forks);
}

void decode_origin(std::span<const std::byte> bytes) {
  Entry entry;
  entry.kind = EntryKind::origin;
  entry.address = {Generation{first_origin_generation + 3}, 0};
  entry.value.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto origin = unpack_origin(entry);
  if (!origin) return;
  const auto again = unpack_origin(origin_entry(*origin));
  LAMINA_CHECK(again && *again == *origin);
}

template <Structure (*structure)()>
std::vector<Bytes> sample_of() {
  return {structure().make()};
}

template <bool back>
std::vector<Bytes> summaries() {
  return {summary_structure(back).make()};
}

template <bool back>
void decode_summary_of(std::span<const std::byte> bytes) {
  decode_summary(bytes, back);
}

std::vector<Bytes> records() {
  Buffer block(block_size);
  pack_record(first_record_of_an_epoch(), secret(), BlobId{1}, 7, block.span());
  return {record_structure().make(), bytes_of(block)};
}

std::vector<Bytes> frames() {
  std::vector<Bytes> out;
  FrameCodec codec;
  for (const uint32_t blocks : {1u, frame_blocks}) {
    Buffer data(blocks * block_size);
    for (size_t i = 0; i < data.size(); ++i)
      data.data()[i] = static_cast<std::byte>("thin as paper, "[i % 15] + i / block_size);
    std::vector<uint32_t> sums;
    for (uint32_t i = 0; i < blocks; ++i) sums.push_back(payload_checksum(data.blocks(i, 1)));
    out.push_back(codec.encode(data.span(), sums));
  }
  return out;
}

std::vector<Bytes> entries() {
  Bytes packed;
  for (const Entry& entry : all_kinds(1000, 11)) pack_entry(entry, 1000, packed);
  return {packed};
}

std::vector<Bytes> fork_lists() {
  std::vector<Entry> forks{all_kinds(0, 1)[15], all_kinds(0, 1)[16]};
  for (Entry& fork : forks) fork.sequence = 0;
  const ForkList list = pack_fork_list(forks);
  const auto bytes = std::as_bytes(std::span(list.payload)).first(list.size_bytes);
  return {{bytes.begin(), bytes.end()}};
}

std::vector<Bytes> origins() {
  const Origin origin{Generation{first_origin_generation + 3},
                      "/srv/images/base.raw",
                      5 * gib,
                      {6 * gib, 1'700'000'000, 12, 34}};
  const std::string value = origin_entry(origin).value;
  const auto bytes = std::as_bytes(std::span(value));
  return {{bytes.begin(), bytes.end()}};
}

}  // namespace

std::span<const Decoder> decoders_of_blobs() {
  static const Decoder all[] = {
      {"superblock", sample_of<superblock_structure>, decode_superblock},
      {"segment_header", sample_of<segment_structure>, decode_segment_header},
      {"slot", sample_of<slot_structure>, decode_slot_block},
      {"log_mark", sample_of<log_mark_structure>, decode_log_mark_block},
      {"record", records, decode_record_block},
      {"front_summary", summaries<false>, decode_summary_of<false>},
      {"back_summary", summaries<true>, decode_summary_of<true>},
      {"frame", frames, decode_frame},
      {"entry", entries, decode_entries},
      {"fork_list", fork_lists, decode_fork_list},
      {"origin", origins, decode_origin},
  };
  return all;
}

}  // namespace lamina::fuzz
