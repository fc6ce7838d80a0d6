// SPDX-License-Identifier: Apache-2.0
#include "blobs/summary.h"

#include <algorithm>

#include "blobs/segment_format.h"
#include "blobs/summary_format.h"

namespace lamina {
namespace {

constexpr size_t header_room = sizeof(SummaryFormat::room);

// A run of blocks taken apart: the header, and the rest in front of it or behind it.
template <class Bytes>
struct Run {
  Bytes header, rest;
  MetadataPlace header_place, rest_place;
};

template <class Bytes>
Run<Bytes> take_apart(Bytes blocks, MetadataPlace place, bool back) {
  LAMINA_CHECK(!blocks.empty() && blocks.size() % block_size == 0);
  const auto rest_blocks = static_cast<uint32_t>(blocks.size() / block_size - 1);
  Run<Bytes> run;
  run.header_place = run.rest_place = place;
  if (back) {
    run.header = blocks.last(block_size);
    run.rest = blocks.first(blocks.size() - block_size);
    run.header_place.block += rest_blocks;
  } else {
    run.header = blocks.first(block_size);
    run.rest = blocks.subspan(block_size);
    run.rest_place.block += 1;
  }
  return run;
}

uint64_t rest_checksum(std::span<const std::byte> rest, const Secret& secret,
                       const MetadataPlace& place) {
  return rest.empty() ? 0 : keyed_checksum(rest, secret, place);
}

bool numbers_in_range(const Summary& summary) {
  if (summary.entries.empty()) return summary.smallest == 0 && summary.largest == 0;
  return std::all_of(summary.entries.begin(), summary.entries.end(), [&](const Entry& entry) {
    return entry.sequence >= summary.smallest && entry.sequence <= summary.largest;
  });
}

// What can be said of a header block by itself: how long the run is, and that it is a summary.
bool valid_header(const SummaryFormat& format) {
  const uint32_t blocks = format.blocks.load();
  return blocks >= 1 && blocks < max_segment_blocks && format.back <= 1 && format.reserved0 == 0 &&
         format.second_array.load() < max_segment_blocks &&
         summary_blocks(format.entry_bytes.load()) <= blocks &&
         format.entries.load() <= format.entry_bytes.load() &&
         (blocks > 1 || format.rest_sum.load() == 0);
}

bool names_place(const SummaryFormat& format, const MetadataPlace& place, bool back) {
  return format.index.load() == place.segment && format.block.load() == place.block &&
         format.generation.load() == raw(place.generation) &&
         format.blob.load() == raw(place.blob) && (format.back != 0) == back;
}

Result<SummaryFormat> check_header(std::span<const std::byte> block, const Secret& secret,
                                   const MetadataPlace& place, bool back) {
  if (!has_magic(block, summary_magic)) return fail(Code::corrupt, "no summary");
  if (stored_block_checksum(block) != keyed_block_checksum(block, secret, place))
    return fail(Code::corrupt, "summary: the checksum is wrong");
  const auto format = load_block<SummaryFormat>(block);
  if (format.version.load() != format_version)
    return fail(Code::unsupported, "summary: of a format that a newer lamina made");
  if (!names_place(format, place, back))
    return fail(Code::corrupt, "summary: it names another place");
  if (!valid_header(format)) return fail(Code::corrupt, "summary: a value is out of range");
  return format;
}

Result<uint32_t> blocks_of(std::span<const std::byte> header, const Secret& secret,
                           const MetadataPlace& place, bool back) {
  auto format = check_header(header, secret, place, back);
  if (!format) return forward_error(format);
  const uint32_t blocks = format->blocks.load();
  if (back && blocks > place.block)
    return fail(Code::corrupt, "summary: longer than the segment before it");
  return blocks;
}

void unpack_fields(const SummaryFormat& format, Summary& summary) {
  summary.epoch = format.epoch.load();
  summary.smallest = format.smallest.load();
  summary.largest = format.largest.load();
  summary.checksums_sum = format.checksums_sum.load();
  summary.second_array = format.second_array.load();
}

// The entries that lie wholly in `bytes`, at most `count`; moves `bytes` behind them.
Result<> unpack_entries(std::span<const std::byte>& bytes, uint32_t count, Summary& summary) {
  summary.entries.reserve(std::min<size_t>(count, bytes.size()));
  for (uint32_t i = 0; i < count; ++i) {
    auto entry = unpack_entry(bytes, summary.smallest);
    if (!entry) return forward_error(entry);
    summary.entries.push_back(std::move(*entry));
  }
  return {};
}

}  // namespace

std::vector<uint32_t> array_places(const Summary& summary) {
  std::vector<uint32_t> places{1};
  if (summary.second_array != 0) places.push_back(summary.second_array);
  return places;
}

uint32_t summary_blocks(size_t entry_bytes) {
  const size_t beyond = entry_bytes > header_room ? entry_bytes - header_room : 0;
  return static_cast<uint32_t>(1 + div_up(beyond, block_size));
}

void pack_summary(const Summary& summary, const Secret& secret, const MetadataPlace& place,
                  bool back, std::span<std::byte> blocks) {
  LAMINA_CHECK(numbers_in_range(summary));
  std::vector<std::byte> entries;
  entries.reserve(blocks.size());
  for (const Entry& entry : summary.entries) pack_entry(entry, summary.smallest, entries);
  const auto run = take_apart(blocks, place, back);
  LAMINA_CHECK(blocks.size() >= size_t{summary_blocks(entries.size())} * block_size);
  const size_t in_header = std::min(entries.size(), header_room);
  const auto beyond = std::span<const std::byte>(entries).subspan(in_header);
  std::copy(beyond.begin(), beyond.end(), run.rest.begin());
  std::fill(run.rest.begin() + static_cast<ptrdiff_t>(beyond.size()), run.rest.end(), std::byte{});

  SummaryFormat format{};
  format.magic = summary_magic;
  format.version.store(format_version);
  format.epoch.store(summary.epoch);
  format.index.store(place.segment);
  format.generation.store(raw(place.generation));
  format.block.store(run.header_place.block);
  format.blob.store(raw(place.blob));
  format.back = back ? 1 : 0;
  format.smallest.store(summary.smallest);
  format.largest.store(summary.largest);
  format.checksums_sum.store(summary.checksums_sum);
  format.rest_sum.store(rest_checksum(run.rest, secret, run.rest_place));
  format.second_array.store(summary.second_array);
  format.blocks.store(static_cast<uint32_t>(blocks.size() / block_size));
  format.entries.store(static_cast<uint32_t>(summary.entries.size()));
  format.entry_bytes.store(static_cast<uint32_t>(entries.size()));
  std::memcpy(format.room.data(), entries.data(), in_header);
  LAMINA_CHECK(valid_header(format));
  store_block(format, run.header);
  store_block_checksum(run.header, keyed_block_checksum(run.header, secret, run.header_place));
}

Result<uint32_t> back_summary_blocks(std::span<const std::byte> last_block, const Secret& secret,
                                     const MetadataPlace& place) {
  return blocks_of(last_block, secret, place, true);
}

Result<uint32_t> front_summary_blocks(std::span<const std::byte> first_block, const Secret& secret,
                                      const MetadataPlace& place) {
  return blocks_of(first_block, secret, place, false);
}

Result<Summary> unpack_summary(std::span<const std::byte> blocks, const Secret& secret,
                               const MetadataPlace& place, bool back) {
  if (blocks.empty() || blocks.size() % block_size != 0)
    return fail(Code::corrupt, "summary: not a whole number of blocks");
  const auto run = take_apart(blocks, place, back);
  auto format = check_header(run.header, secret, run.header_place, back);
  if (!format) return forward_error(format);
  if (format->blocks.load() != blocks.size() / block_size)
    return fail(Code::corrupt, "summary: of another length");
  if (format->rest_sum.load() != rest_checksum(run.rest, secret, run.rest_place))
    return fail(Code::corrupt, "summary: the checksum of its entries is wrong");
  std::vector<std::byte> bytes(header_room + run.rest.size());
  std::memcpy(bytes.data(), format->room.data(), header_room);
  std::copy(run.rest.begin(), run.rest.end(), bytes.begin() + header_room);
  const size_t entry_bytes = format->entry_bytes.load();
  Summary summary;
  unpack_fields(*format, summary);
  auto entries = std::span<const std::byte>(bytes).first(entry_bytes);
  LAMINA_TRY(unpack_entries(entries, format->entries.load(), summary));
  if (!entries.empty() || !all_zero(std::span<const std::byte>(bytes).subspan(entry_bytes)))
    return fail(Code::corrupt, "summary: bytes behind the last entry");
  if (!numbers_in_range(summary))
    return fail(Code::corrupt, "summary: an entry with a number out of range");
  return summary;
}

Result<SummaryHead> decode_summary_head(std::span<const std::byte> block) {
  if (!has_magic(block, summary_magic)) return fail(Code::corrupt, "no summary");
  const auto format = load_block<SummaryFormat>(block);
  if (format.version.load() != format_version)
    return fail(Code::unsupported, "summary: of a format that a newer lamina made");
  if (!valid_header(format)) return fail(Code::corrupt, "summary: a value is out of range");
  SummaryHead head;
  head.place = {BlobId{format.blob.load()}, format.index.load(),
                Generation{format.generation.load()}, format.block.load()};
  head.back = format.back != 0;
  head.blocks = format.blocks.load();
  head.entry_count = format.entries.load();
  unpack_fields(format, head.summary);
  std::span<const std::byte> room = std::as_bytes(std::span(format.room));
  room = room.first(std::min<size_t>(header_room, format.entry_bytes.load()));
  // The last entry of the room may go on in the next block; those before it are whole.
  (void)unpack_entries(room, head.entry_count, head.summary);
  return head;
}

}  // namespace lamina
