// SPDX-License-Identifier: Apache-2.0
#include "tools/find_superblock.h"

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "base/buffer.h"
#include "blobs/blob.h"
#include "blobs/layout.h"
#include "blobs/segment.h"
#include "blobs/slot.h"

namespace lamina {
namespace {

// A guest may have written what looks like a header (B7), but not several of them where segments of
// that size would begin.
constexpr size_t enough_headers = 4;
constexpr uint64_t scanned_at_once = 1 * mib;
constexpr size_t headers_at_once = 256;

// What headers agree about.
struct Claimed {
  Uuid pool{};
  Secret secret{};
  BlobId blob = BlobId::none;
  uint32_t segment_blocks = 0;
  uint64_t first = 0;  // byte offset of segment 0
  auto operator<=>(const Claimed&) const = default;
  uint64_t segment_bytes() const { return uint64_t{segment_blocks} * block_size; }
};

class Finder {
 public:
  Finder(std::shared_ptr<Disk> disk, Superblock like)
      : disk_(std::move(disk)), found_(std::move(like)) {}

  Task<Result<Superblock>> run();

 private:
  Task<Result<>> find_claim();
  Task<Result<>> find_layout();
  Task<Result<>> look_for_slot();
  Task<Result<std::vector<bool>>> headers_at(uint64_t begin, uint32_t count);

  std::shared_ptr<Disk> disk_;
  Superblock found_;
  Claimed claim_;
  bool any_frames_ = false, any_log_ = false;
};

// The first segments of a pool are its oldest, and in use where anything is.
Task<Result<>> Finder::find_claim() {
  std::map<Claimed, size_t> claims;
  Buffer buffer(scanned_at_once);
  for (uint64_t at = edge_bytes; at + edge_bytes < disk_->size(); at += scanned_at_once) {
    const uint64_t length =
        std::min(scanned_at_once, round_down(disk_->size(), block_size) - at);
    IoBatch batch;
    batch.read(*disk_, at, buffer.span().first(length));
    co_await batch;
    if (!batch.ok()) continue;  // a bad place is what this is for
    for (uint64_t i = 0; i < length / block_size; ++i) {
      const auto header = unpack_segment_header(buffer.blocks(i, 1));
      if (!header) continue;
      const uint64_t before = uint64_t{header->index} * header->blocks * block_size;
      const uint64_t offset = at + i * block_size;
      if (offset < edge_bytes + before) continue;
      const Claimed claim{header->pool, header->secret, header->blob, header->blocks,
                        offset - before};
      if (++claims[claim] < enough_headers) continue;
      claim_ = claim;
      co_return Result<>{};
    }
  }
  const auto best = std::ranges::max_element(claims, {}, [](const auto& one) { return one.second; });
  if (best == claims.end())
    co_return fail(Code::not_found, "neither a superblock nor a segment of a pool is on it");
  claim_ = best->first;
  co_return Result<>{};
}

// Which of so many places, a segment apart, begin with the header that belongs there.
Task<Result<std::vector<bool>>> Finder::headers_at(uint64_t begin, uint32_t count) {
  std::vector<bool> there(count);
  for (uint32_t first = 0; first < count; first += headers_at_once) {
    const size_t some = std::min<size_t>(headers_at_once, count - first);
    Buffer headers(some * block_size);
    IoBatch batch;
    for (size_t i = 0; i < some; ++i)
      batch.read(*disk_, begin + (first + i) * claim_.segment_bytes(), headers.blocks(i, 1));
    co_await batch;
    for (size_t i = 0; i < some; ++i) {
      const auto header = unpack_segment_header(headers.blocks(i, 1));
      there[first + i] = header && header->pool == claim_.pool && header->index == first + i &&
                         header->blob == claim_.blob;
      if (!there[first + i]) continue;
      any_frames_ = any_frames_ || header->kind == SegmentClass::frames;
      any_log_ = any_log_ || header->kind == SegmentClass::log;  // nodes lie in any tier
    }
  }
  co_return there;
}

// The middle lies where a blob of this size has it, or, of one that has grown, before the first
// segment that lies behind it.
Task<Result<>> Finder::find_layout() {
  const uint64_t erase = std::max<uint64_t>(
      claim_.first > edge_bytes ? claim_.first : 0,
      std::max<uint64_t>(disk_->traits().discard_granularity, block_size));
  auto plan = Blob::plan(disk_->size(), claim_.segment_bytes(), erase);
  if (!plan) co_return forward_error(plan);
  plan->write_to(found_);
  const Layout layout =
      Layout::of(found_.size, found_.middle, claim_.segment_bytes(), found_.erase_bytes);
  if (layout.first != claim_.first)
    co_return fail(Code::corrupt, "its segments do not begin where they would");
  const uint64_t area = layout.middle_end - layout.middle;
  auto looking = headers_at(layout.first, layout.segment_count);
  auto before = co_await looking;
  if (!before) co_return forward_error(before);
  auto behind_task = headers_at(layout.first + area, layout.segment_count);
  auto behind = co_await behind_task;
  if (!behind) co_return forward_error(behind);
  uint32_t least = 0, most = layout.segment_count;  // of segments before the middle
  for (uint32_t i = 0; i < layout.segment_count; ++i) {
    if ((*before)[i]) least = i + 1;
    if ((*behind)[i]) most = std::min(most, i);
  }
  if (least > most) co_return fail(Code::corrupt, "its segments lie in two ways");
  const uint32_t in_plan = layout.before_middle;
  const uint32_t chosen = std::clamp(in_plan, least, most);
  found_.middle = layout.first + chosen * claim_.segment_bytes();
  found_.segment_count =
      Layout::of(found_.size, found_.middle, claim_.segment_bytes(), found_.erase_bytes)
          .segment_count;
  co_return Result<>{};
}

Task<Result<>> Finder::look_for_slot() {
  const Blob blob(disk_, found_);
  std::optional<Slot> newest;
  Buffer block(block_size);
  for (CheckpointNumber number = 0; number < slot_ring_length; ++number)
    for (const uint64_t offset : blob.slot_offsets(number)) {
      IoBatch batch;
      batch.read(*disk_, offset, block.span());
      co_await batch;
      if (!batch.ok()) continue;
      auto slot = unpack_slot(block.span(), found_.secret, found_.blob,
                              static_cast<uint32_t>(offset / block_size));
      if (slot && (!newest || slot->number > newest->number)) newest = std::move(*slot);
    }
  if (!newest) co_return Result<>{};
  for (const SlotMember& member : newest->members) {
    if (member.blob != found_.blob) continue;
    found_.blob_uuid = member.uuid;
    found_.kind = member.kind;
    found_.tier = member.tier;
    if (found_.blob_name.empty()) found_.blob_name = member.name;
  }
  co_return Result<>{};
}

Task<Result<Superblock>> Finder::run() {
  LAMINA_CO_TRY(co_await find_claim());
  found_.pool = claim_.pool;
  found_.secret = claim_.secret;
  found_.blob = claim_.blob;
  LAMINA_CO_TRY(co_await find_layout());
  if (any_log_) found_.kind = BlobKind::journal;
  if (any_frames_) found_.kind = BlobKind::compression;
  LAMINA_CO_TRY(co_await look_for_slot());
  co_return found_;
}

}  // namespace

Task<Result<Superblock>> superblock_from_segments(std::shared_ptr<Disk> disk, Superblock like) {
  Finder finder(std::move(disk), std::move(like));
  Task<Result<Superblock>> running = finder.run();
  co_return co_await running;
}

}  // namespace lamina
