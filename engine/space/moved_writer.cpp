// SPDX-License-Identifier: Apache-2.0
#include "engine/space/moved_writer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/checksum.h"
#include "base/endian.h"
#include "blobs/segment.h"
#include "blobs/summary.h"
#include "engine/mutation.h"
#include "engine/pool_state.h"
#include "engine/space/moved_layout.h"

namespace lamina {
namespace {

constexpr uint64_t write_bytes = mib;  // of one request

}  // namespace

// Sealed, for others, when it is on the medium.
struct MovedWriter::Closed {
  SegmentName name{};
  Buffer memory;
  uint32_t used_end = 0, addressed = 0;
  uint32_t back = 0, back_blocks = 0;  // the summary at the end, and the checksums in front of it
  Sequence oldest = 0;
  Result<> result;
  Completion done;
};

MovedWriter::MovedWriter(PoolState& pool, const MovePlan& plan, std::vector<Space::Permit> permits,
                         size_t entry_bytes)
    : pool_(pool),
      tier_(plan.to),
      kind_(pool.space.moved_class(plan.to)),
      claim_(plan.claim()),
      permits_(std::move(permits)),
      entry_bytes_a_block_(entry_bytes) {}

MovedWriter::~MovedWriter() {
  LAMINA_CHECK(!written_);
}

std::optional<SegmentName> MovedWriter::take() {
  if (permits_.empty()) return pool_.space.take(kind_, claim_, tier_);
  Space::Permit permit = std::move(permits_.back());
  permits_.pop_back();
  return pool_.space.take(kind_, std::move(permit));
}

Result<> MovedWriter::open(bool for_facts) {
  const auto name = take();
  if (!name) return fail(Code::no_space, "no free segment is left for moving (D5)");
  Blob& blob = pool_.space.blob(name->blob);
  name_ = *name;
  blocks_ = blob.segment_blocks();
  if (!payload_)
    payload_ = SegmentPayload::make(blob, {.secret = pool_.identity.secret,
                                           .workers = pool_.settings.workers,
                                           .level = pool_.level_of(tier_)});
  const MovedLayout layout(blocks_, entry_bytes_a_block_, kind_);
  // What can be moved makes way for the summary when its length is known.
  front_ = for_facts || payload_->movable() ? layout.facts_summary() : layout.summary();
  const uint32_t begin = payload_begin(kind_, blocks_, payload_->movable() ? 1 : front_);
  if (!memory_) memory_ = std::exchange(spare_, {});
  if (memory_.size() != blob.segment_bytes()) memory_ = Buffer(blob.segment_bytes());
  std::memset(memory_.data(), 0, size_t{begin} * block_size);
  payload_->open({name_.blob, name_.index, name_.generation, 0}, memory_, begin);
  entries_.clear();
  entry_bytes_ = 0;
  filled_.push_back(name_.generation);
  return {};
}

uint32_t MovedWriter::summary_with(size_t entry_bytes) const {
  return summary_blocks(entry_bytes_ + entry_bytes);
}

// Where payload must end if summaries have so many blocks.
uint32_t MovedWriter::end_beside(uint32_t summary) const {
  return blocks_ - summary - second_array_blocks(kind_, blocks_) -
         (payload_->movable() ? summary - 1 : 0);
}

// Whether it has a place in both summaries.
bool MovedWriter::takes_entry(size_t entry_bytes) const {
  const uint32_t summary = summary_with(entry_bytes);
  return summary <= front_ && payload_->fits(end_beside(summary));
}

// Payload blocks that still fit beside one more entry.
uint32_t MovedWriter::room(size_t entry_bytes) const {
  return takes_entry(entry_bytes) ? payload_->room(end_beside(summary_with(entry_bytes))) : 0;
}

// A segment is open that takes one more entry, and, if it is of data, a block.
Task<Result<>> MovedWriter::make_room(size_t entry_bytes, bool for_fact) {
  const auto has_room = [&] { return for_fact ? takes_entry(entry_bytes) : room(entry_bytes) > 0; };
  while (is_open() && !has_room() && payload_->under_way()) co_await payload_->go_on();
  if (is_open() && !has_room()) LAMINA_CO_TRY(co_await close());
  if (!is_open()) LAMINA_CO_TRY(open(for_fact));
  co_return Result<>{};
}

Task<Result<std::vector<MovedWriter::Placed>>> MovedWriter::append_data(
    const MovedPiece& piece, std::span<const std::byte> payload,
    std::span<const uint32_t> checksums) {
  std::vector<Placed> all;
  for (uint32_t done = 0; done < piece.blocks;) {
    Entry entry;
    entry.kind = EntryKind::write;
    entry.map = piece.map;
    entry.sequence = piece.sequence;
    entry.begin = piece.begin + BlockCount{done};
    entry.length = {piece.blocks - done};
    entry.offset = UINT32_MAX / 2;
    LAMINA_CO_TRY(co_await make_room(packed_entry_size(entry, 0), false));
    const uint32_t now = std::min(piece.blocks - done, room(packed_entry_size(entry, 0)));
    entry.length = {now};
    entry.offset = payload_->next_address();
    all.push_back({now, {name_.generation, entry.offset}});
    payload_->put(payload.subspan(size_t{done} * block_size, size_t{now} * block_size),
                  checksums.subspan(done, now));
    done += now;
    moved_bytes_ += uint64_t{now} * block_size;
    entry_bytes_ += packed_entry_size(entry, 0);
    entries_.push_back(std::move(entry));
    pool_.move_pace.note_copied(uint64_t{now} * block_size);
    if (pool_.move_pace.due()) co_await pool_.move_pace.rest();
  }
  co_return all;
}

Task<Result<std::optional<Address>>> MovedWriter::append_frame(std::span<const MovedPiece> pieces,
                                                               std::span<const std::byte> frame) {
  std::vector<Entry> entries;
  uint32_t blocks = 0;
  size_t bytes = 0;
  for (const MovedPiece& piece : pieces) {
    Entry& entry = entries.emplace_back();
    entry.kind = EntryKind::write;
    entry.map = piece.map;
    entry.sequence = piece.sequence;
    entry.begin = piece.begin;
    entry.length = {piece.blocks};
    entry.offset = UINT32_MAX / 2;
    bytes += packed_entry_size(entry, 0);
    blocks += piece.blocks;
  }
  const auto put = [&] {
    return takes_entry(bytes) &&
           payload_->put_frame(frame, blocks, end_beside(summary_with(bytes)));
  };
  if (!is_open()) LAMINA_CO_TRY(open(false));
  bool fits = put();
  while (!fits && payload_->under_way()) {
    co_await payload_->go_on();
    fits = put();
  }
  if (!fits) co_return std::optional<Address>();
  const uint32_t begin = payload_->last_frame();
  uint32_t done = 0;
  for (Entry& entry : entries) {
    entry.offset = begin + done;
    done += static_cast<uint32_t>(entry.length.value);
    entry_bytes_ += packed_entry_size(entry, 0);
    entries_.push_back(std::move(entry));
  }
  moved_bytes_ += uint64_t{blocks} * block_size;
  pool_.move_pace.note_copied(uint64_t{blocks} * block_size);
  const Address to{name_.generation, begin};
  if (pool_.move_pace.due()) co_await pool_.move_pace.rest();
  co_return std::optional<Address>(to);
}

Task<Result<Generation>> MovedWriter::append_fact(Entry entry) {
  const size_t bytes = packed_entry_size(entry, 0);
  LAMINA_CO_TRY(co_await make_room(bytes, true));
  entry_bytes_ += bytes;
  entries_.push_back(std::move(entry));
  co_return name_.generation;
}

Task<Result<>> MovedWriter::close() {
  co_await payload_->settle();
  Summary summary;
  summary.epoch = pool_.identity.epoch;
  summary.entries = std::exchange(entries_, {});
  if (mutated(Mutation::forget_facts))
    std::erase_if(summary.entries, [](const Entry& e) { return e.kind == EntryKind::zero; });
  for (const Entry& entry : summary.entries) {
    summary.smallest =
        summary.smallest == 0 ? entry.sequence : std::min(summary.smallest, entry.sequence);
    summary.largest = std::max(summary.largest, entry.sequence);
  }
  size_t bytes = 0;
  for (const Entry& entry : summary.entries) bytes += packed_entry_size(entry, summary.smallest);
  const uint32_t length = summary_blocks(bytes);
  LAMINA_CHECK(length <= front_);
  if (payload_->movable()) {
    payload_->move_up(length - 1);
    front_ = length;
  }
  payload_->close();
  const uint32_t used_end = payload_->used_end();
  const uint32_t sum_blocks = array_blocks(kind_, blocks_),
                 second = second_array_blocks(kind_, blocks_);
  LAMINA_CHECK(used_end + second + length <= blocks_);
  SegmentHeader header;
  header.pool = pool_.identity.pool;
  header.secret = pool_.identity.secret;
  header.blob = name_.blob;
  header.index = name_.index;
  header.generation = name_.generation;
  header.kind = kind_;
  header.state = SegmentState::sealed;
  header.epoch = pool_.identity.epoch;
  header.blocks = blocks_;
  header.front_blocks = front_;
  header.used_end = used_end;
  header.addressed = payload_->addressed();
  header.wall_ns = pool_.settings.background->wall_ns();
  pack_segment_header(header, memory_.blocks(0, 1));
  summary.checksums_sum = plain_checksum(memory_.blocks(1, sum_blocks));
  if (second > 0) {
    summary.second_array = blocks_ - length - second;
    std::memcpy(memory_.blocks(summary.second_array, second).data(),
                memory_.blocks(1, second).data(), size_t{second} * block_size);
  }
  MetadataPlace place{name_.blob, name_.index, name_.generation, 1 + sum_blocks};
  pack_summary(summary, pool_.identity.secret, place, false, memory_.blocks(place.block, length));
  place.block = blocks_ - length;
  if (mutated(Mutation::move_without_summaries)) summary = {};
  pack_summary(summary, pool_.identity.secret, place, true, memory_.blocks(place.block, length));

  const uint32_t payload = used_end - payload_begin(kind_, blocks_, front_);
  pool_.counters.add(Cause::moved, uint64_t{payload} * block_size);
  pool_.counters.add(Cause::summaries, uint64_t{used_end - payload + second + length} * block_size);
  LAMINA_CO_TRY(co_await wait_for_written());
  written_ = std::make_unique<Closed>();
  written_->name = std::exchange(name_, {});
  written_->memory = std::exchange(memory_, {});
  written_->used_end = used_end;
  written_->addressed = header.addressed;
  written_->back = place.block - second;
  written_->back_blocks = second + length;
  written_->oldest = summary.smallest;
  spawn(write(*written_));
  co_return Result<>{};
}

// Front to back, then what is at the end.
Task<void> MovedWriter::write(Closed& closed) {
  Blob& blob = pool_.space.blob(closed.name.blob);
  const uint64_t end = uint64_t{closed.used_end} * block_size;
  for (uint64_t at = 0; at < end && closed.result; at += write_bytes) {
    IoBatch batch;
    batch.write(blob.disk(), blob.offset(closed.name.index, static_cast<uint32_t>(at / block_size)),
                closed.memory.span().subspan(at, std::min(write_bytes, end - at)));
    co_await batch;
    closed.result = batch.result();
  }
  if (closed.result) {
    IoBatch batch;
    batch.write(blob.disk(), blob.offset(closed.name.index, closed.back),
                closed.memory.blocks(closed.back, closed.back_blocks));
    co_await batch;
    closed.result = batch.result();
  }
  closed.done.signal();
}

Task<Result<>> MovedWriter::wait_for_written() {
  if (!written_) co_return Result<>{};
  co_await written_->done;
  const std::unique_ptr<Closed> closed = std::move(written_);
  if (!closed->result) co_return closed->result;
  const uint32_t pages = array_blocks(kind_, pool_.space.blob(closed->name.blob).segment_blocks());
  for (uint32_t page = 0; page < pages; ++page)
    pool_.sums.put(closed->name.generation, page, closed->memory.blocks(1 + page, 1));
  pool_.space.seal(closed->name.generation, closed->used_end, closed->addressed);
  pool_.space.set_oldest(closed->name.generation, closed->oldest);
  spare_ = std::exchange(closed->memory, {});
  co_return Result<>{};
}

Task<void> MovedWriter::give_up() {
  if (payload_) co_await payload_->settle();
  (void)co_await wait_for_written();  // what came of it does not matter any more
  for (const Generation generation : std::exchange(filled_, {})) pool_.space.retire(generation);
  name_ = {};
}

Task<Result<std::vector<Generation>>> MovedWriter::finish() {
  if (is_open()) LAMINA_CO_TRY(co_await close());
  LAMINA_CO_TRY(co_await wait_for_written());
  co_return std::move(filled_);
}

}  // namespace lamina
