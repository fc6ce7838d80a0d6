// SPDX-License-Identifier: Apache-2.0
// How far the log is durable, said outside of it, and what it alone knows (blobs/log_mark.h).
#include <algorithm>
#include <vector>

#include "base/buffer.h"
#include "blobs/log_mark.h"
#include "engine/log/log.h"

namespace lamina {

// Nobody is told anything by it but a recovery, so it is not flushed, and may fail. What no later
// header says is left out: the very last record, the witness of an idle log, may be lost as any other.
Task<void> Log::mark_durable() {
  LogMark mark;
  {
    Lock lock(order_);
    const Sequence through = std::min(durable_, witnessed_);
    if (phase_ != Phase::works || through <= marked_) co_return;
    mark = {identity_.epoch, through, settings_.background->wall_ns(), repeated_.up_to(through)};
    marked_ = through;
  }
  std::vector<Buffer> blocks;
  IoBatch writes;
  for (const auto& blob : space_.blobs()) {
    if (blob->kind() != BlobKind::journal || blob->disk().given_up()) continue;
    for (const uint64_t offset : blob->log_mark_offsets()) {
      blocks.emplace_back(block_size);
      pack_log_mark(mark, identity_.secret, blob->id(), static_cast<uint32_t>(offset / block_size),
                    blocks.back().span());
      writes.write(blob->disk(), offset, blocks.back().span());
      counters_.add(Cause::slots, block_size);
    }
  }
  co_await writes;
}

}  // namespace lamina
