// SPDX-License-Identifier: Apache-2.0
// How the log leaves a blob (D9).
#include <algorithm>

#include "engine/log/log.h"

namespace lamina {

bool Log::goes_on_in(BlobId blob) const {
  return current_->name.blob == blob ||
         std::ranges::any_of(next_, [blob](const SegmentName& next) { return next.blob == blob; });
}

// A step for which only another segment will do, whatever is in this one.
uint32_t Log::whole_segment() const {
  return static_cast<uint32_t>(current_->memory.size() / block_size);
}

Task<Result<>> Log::leave(BlobId blob) {
  for (;;) {
    uint32_t all = 0;
    {
      Lock lock(order_);
      // Where it serves again, what the log names next may be there.
      if (space_.use_of(blob) == BlobUse::serves || !goes_on_in(blob)) co_return Result<>{};
      all = whole_segment();
    }
    LAMINA_CO_TRY(co_await wait_for_room(all, Claim::log));
    Sequence through = 0;
    {
      Lock lock(order_);
      if (!has_room(whole_segment(), Claim::log)) continue;
      if (goes_on_in(blob)) {
        close_record();
        switch_segment();
        begin(64, 0);
        add(Entry{}, {});
      }
      through = last_;
    }
    LAMINA_CO_TRY(co_await flush(through));
  }
}

Task<void> Log::between_flushes(BlobId blob, std::function<void()> work) {
  co_await take_turn();
  {
    Lock lock(order_);
    unflushed_.erase(blob);
    work();
  }
  end_turn();
}

}  // namespace lamina
