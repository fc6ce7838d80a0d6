// SPDX-License-Identifier: Apache-2.0
// Steps: how everything but data gets into the log and into the devices.
#include "base/check.h"
#include "engine/pool_state.h"

namespace lamina {
namespace {

constexpr uint64_t worth_showing = 8;  // a part of what is used, that may have been erased

}  // namespace

Result<> PoolState::writable() const {
  return writable(log.health());
}

Result<> PoolState::writable(Result<> health) const {
  if (settings.read_only) return fail(Code::read_only, "the pool is mounted read-only");
  if (!health) return fail(Code::read_only, "the pool is read-only: " + health.error().message);
  return {};
}

void PoolState::log_and_apply(Entry entry, std::span<const std::byte> payload) {
  const Entry& added = log.add(std::move(entry), payload);
  auto applied =
      devices.apply(added, log.current_generation(), settings.background->wall_ns(), payload);
  LAMINA_CHECK(applied.has_value());
  if (added.kind != EntryKind::alias || is_origin(added.address)) return;
  const bool known = space.share(added.address.generation, added.sequence);
  LAMINA_CHECK(known);
}

Task<Result<>> PoolState::step(Claim claim, uint32_t payload_blocks, Build build) {
  for (;;) {
    LAMINA_CO_TRY(writable());
    {
      Lock order(log.order());
      if (log.has_room(payload_blocks, claim)) {
        auto entries = build();
        if (!entries) co_return forward_error(entries);
        if (entries->empty()) co_return Result<>{};
        size_t packed = 0;
        uint32_t blocks = 0;
        for (StepEntry& e : *entries) {
          if (!e.payload.empty()) e.entry.offset = UINT32_MAX / 2;  // as long as any
          packed += packed_bound(e.entry);                          // numbers are not known yet
          blocks += static_cast<uint32_t>(div_up(e.payload.size(), block_size));
        }
        LAMINA_CHECK(blocks <= payload_blocks);
        log.begin(packed, blocks);
        for (StepEntry& e : *entries)
          log_and_apply(std::move(e.entry), std::as_bytes(std::span(e.payload)));
        const bool much_erased =
            devices.erased_blocks * worth_showing > checkpointer.used_blocks();
        if (devices.dropped_blocks > 0 || much_erased) start_showing_space();
        co_return Result<>{};
      }
    }
    LAMINA_CO_TRY(co_await log.wait_for_room(payload_blocks, claim));
  }
}

}  // namespace lamina
