// SPDX-License-Identifier: Apache-2.0
#include "engine/node_writer.h"

#include <utility>

#include "base/check.h"
#include "blobs/segment.h"
#include "blobs/summary.h"
#include "engine/mutation.h"

namespace lamina {
namespace {
constexpr uint32_t pending_limit = 64;   // blocks that wait to be written together
constexpr size_t node_entry_bytes = 64;  // bound of a packed entry of kind node
}  // namespace

NodeWriter::NodeWriter(const PoolIdentity& identity, const Settings& settings, Space& space,
                       Counters& counters)
    : identity_(identity), settings_(settings), space_(space), counters_(counters) {}

// What the epoch before left open stays as a crash would leave it; nodes of committed checkpoints
// may lie in it.
void NodeWriter::follow_epoch() {
  const Epoch epoch = identity_.epoch;
  if (epoch_ == epoch) return;
  if (mutated(Mutation::append_to_old_nodes) && epoch_ != 0) return;
  epoch_ = epoch;
  for (Head& head : heads_) {
    if (!head.is_open()) continue;
    space_.seal(head.name.generation, head.next_block);
    head.name = {};
  }
}

bool NodeWriter::takes_one_more(const Head& head) const {
  return head.next_block + 1 + summary_blocks(head.entry_bytes + node_entry_bytes) <= head.blocks();
}

// Written once: sealing leaves it alone, since committed nodes lie in the segment already and a
// power cut that tears the headers of both heads would hide both copies from a scan (B3).
void NodeWriter::fill_header(Head& head) {
  SegmentHeader header;
  header.pool = identity_.pool;
  header.secret = identity_.secret;
  header.blob = head.name.blob;
  header.index = head.name.index;
  header.generation = head.name.generation;
  header.kind = SegmentClass::nodes;
  header.state = SegmentState::open;
  header.epoch = epoch_;
  header.blocks = head.blocks();
  header.wall_ns = settings_.background->wall_ns();
  pack_segment_header(header, head.memory.blocks(0, 1));
}

// The second copy on another disk, the first on one of the fast ones, where it is read.
Result<> NodeWriter::open_head(Head& head) {
  const bool second = &head == &heads_[1];
  const BlobId other = heads_[second ? 0 : 1].name.blob;
  const auto name = second ? space_.take_elsewhere(SegmentClass::nodes, Claim::checkpoint, other)
                           : space_.take(SegmentClass::nodes, Claim::checkpoint, 0, other);
  if (!name) return fail(Code::no_space, "no free segment is left for the checkpoint (D5)");
  const uint32_t blocks = space_.blob(name->blob).segment_blocks();
  head.name = *name;
  if (head.blocks() != blocks) head.memory = Buffer(uint64_t{blocks} * block_size);
  head.next_block = payload_begin(SegmentClass::nodes, blocks, 0);
  head.written = 0;  // the first write goes from the segment's front
  head.pages = 0;
  head.entries.clear();
  head.entry_bytes = 0;
  fill_header(head);
  return {};
}

Task<Result<NodeWriter::Places>> NodeWriter::append(std::optional<Entry> line) {
  follow_epoch();
  Places places;
  for (size_t i = 0; i < heads_.size(); ++i) {
    Head& head = heads_[i];
    if (head.is_open() && !takes_one_more(head)) LAMINA_CO_TRY(co_await seal(head));
    if (head.is_open() && head.next_block - head.written >= pending_limit)
      LAMINA_CO_TRY(co_await write_pending(head));
    if (!head.is_open()) LAMINA_CO_TRY(open_head(head));
  }
  for (size_t i = 0; i < heads_.size(); ++i) {
    Head& head = heads_[i];
    const uint32_t block = head.next_block++;
    places.copies[i] = {head.name.generation, block};
    places.keys[i] = {head.name.blob, head.name.index, head.name.generation, block};
    places.blocks[i] = head.memory.blocks(block, 1);
    if (!line) {
      ++head.pages;
      continue;
    }
    line->offset = block;
    head.entry_bytes += packed_entry_size(*line, 0);
    head.entries.push_back(*line);
  }
  co_return places;
}

Task<Result<>> NodeWriter::write_pending(Head& head) {
  if (!head.is_open() || head.written == head.next_block) co_return Result<>{};
  Blob& blob = space_.blob(head.name.blob);
  const uint32_t count = head.next_block - head.written;
  IoBatch batch;
  batch.write(blob.disk(), blob.offset(head.name.index, head.written),
              head.memory.blocks(head.written, count));
  head.written = head.next_block;
  const uint32_t pages = std::exchange(head.pages, 0);
  counters_.add(Cause::tables, uint64_t{pages} * block_size);
  counters_.add(Cause::nodes, uint64_t{count - pages} * block_size);
  co_await batch;
  co_return batch.result();
}

Task<Result<>> NodeWriter::write_out() {
  for (Head& head : heads_) LAMINA_CO_TRY(co_await write_pending(head));
  co_return Result<>{};
}

Task<Result<>> NodeWriter::seal(Head& head) {
  LAMINA_CO_TRY(co_await write_pending(head));
  Blob& blob = space_.blob(head.name.blob);
  Summary summary;
  summary.epoch = epoch_;
  summary.entries = std::exchange(head.entries, {});
  const uint32_t length = summary_blocks(head.entry_bytes);
  const uint32_t at = head.blocks() - length;
  LAMINA_CHECK(head.next_block <= at);
  pack_summary(summary, identity_.secret,
               {head.name.blob, head.name.index, head.name.generation, at}, true,
               head.memory.blocks(at, length));
  IoBatch batch;
  batch.write(blob.disk(), blob.offset(head.name.index, at), head.memory.blocks(at, length));
  counters_.add(Cause::summaries, uint64_t{length} * block_size);
  co_await batch;
  if (!batch.ok()) co_return batch.result();
  space_.seal(head.name.generation, head.next_block);
  head.name = {};
  co_return Result<>{};
}

Task<Result<>> NodeWriter::leave_blobs() {
  follow_epoch();
  for (Head& head : heads_)
    if (head.is_open() && space_.use_of(head.name.blob) == BlobUse::leaving)
      LAMINA_CO_TRY(co_await seal(head));
  co_return Result<>{};
}

Task<Result<>> NodeWriter::seal_all() {
  follow_epoch();
  for (Head& head : heads_)
    if (head.is_open()) LAMINA_CO_TRY(co_await seal(head));
  co_return Result<>{};
}

}  // namespace lamina
