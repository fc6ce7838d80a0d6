// SPDX-License-Identifier: Apache-2.0
// Superblocks, slots, and the tables that the slots name.
#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

#include "engine/check/checker.h"
#include "engine/pool_state.h"
#include "engine/slots.h"
#include "engine/torn_slots.h"

namespace lamina {
namespace {

Task<bool> read_fixed_block(Disk& disk, uint64_t offset, std::span<std::byte> into) {
  IoBatch batch;
  batch.read(disk, offset, into);
  co_await batch;
  co_return batch.ok();
}

Task<uint64_t> bad_superblocks(Blob& blob) {
  Buffer block(block_size);
  uint64_t bad = 0;
  for (const uint64_t offset : blob.superblock_offsets()) {
    Task<bool> reading = read_fixed_block(blob.disk(), offset, block.span());
    const bool read = co_await reading;
    const auto copy = unpack_superblock(block.span());
    if (!read || !copy || *copy != blob.superblock()) ++bad;
  }
  co_return bad;
}

bool is_member(const Slot& slot, const Blob& blob) {
  return std::ranges::any_of(slot.members,
                             [&](const SlotMember& member) { return member.blob == blob.id(); });
}

}  // namespace

// Every copy of the slots of K_new and K_old; elsewhere in the ring anything that was a slot once.
// `torn`: places in which a crash may have left anything. `backed`: gets those two, once each.
Task<void> Checker::look_at_slots(Blob& blob, const std::set<uint64_t>& torn,
                                  std::vector<Slot>& backed, Findings& out) {
  const std::set<CheckpointNumber> wanted{pool_.checkpointer.number(),
                                          pool_.checkpointer.oldest_backed()};
  Buffer block(block_size);
  for (CheckpointNumber place = 0; place < slot_ring_length; ++place) {
    for (const uint64_t offset : blob.slot_offsets(place)) {
      Task<bool> reading = read_fixed_block(blob.disk(), offset, block.span());
      const bool read = co_await reading;
      auto slot = unpack_slot(block.span(), pool_.identity.secret, blob.id(),
                              static_cast<uint32_t>(offset / block_size));
      const std::string where = blob.disk().name() + "@" + std::to_string(offset);
      if (read && torn.contains(place) && !(slot && wanted.contains(slot->number))) continue;
      if (!read || (!slot && !all_zero(block.span()))) {
        out.push_back({"A13", where,
                       "checkpoint slot: " + (read ? slot.error().message : "it cannot be read")});
      } else if (slot && wanted.contains(slot->number)) {
        const bool known = std::ranges::any_of(
            backed, [&](const Slot& one) { return one.number == slot->number; });
        if (!known) backed.push_back(std::move(*slot));
      } else {
        for (const CheckpointNumber number : wanted)
          if (number % slot_ring_length == place && number != 0)
            out.push_back({"A13", where,
                           "checkpoint " + std::to_string(number) + " has a slot here no more"});
      }
    }
  }
}

// Between checkpoints, so that nobody writes a slot meanwhile.
Task<Checker::Findings> Checker::look_at_fixed_places() {
  Findings out;
  std::vector<Slot> backed;
  std::vector<std::pair<Blob*, Findings>> of_blobs;
  const Blobs blobs = pool_.blobs();
  std::set<uint64_t> torn;
  if (pool_.settings.read_only)
    torn = co_await torn_slots(blobs, pool_.identity.secret);
  else if (pool_.counters.checkpoints == 0)  // of this life, the first of which goes there
    torn.insert((pool_.checkpointer.number() + 1) % slot_ring_length);
  for (const auto& blob : blobs) {
    if (blob->disk().given_up()) continue;
    Task<uint64_t> counting = bad_superblocks(*blob);
    const uint64_t bad = co_await counting;
    if (bad > 0)
      out.push_back({"A13", blob->disk().name(),
                     std::to_string(bad) + " of " + std::to_string(superblock_copies) +
                         " superblock copies are damaged; a good one serves"});
    of_blobs.emplace_back(blob.get(), Findings());
    Task<void> looking = look_at_slots(*blob, torn, backed, of_blobs.back().second);
    co_await looking;
  }
  const bool any = std::ranges::any_of(
      backed, [&](const Slot& slot) { return slot.number == pool_.checkpointer.number(); });
  if (!any)
    out.push_back({"A13", "pool \"" + pool_.name + "\"", "the newest checkpoint has no slot left"});
  // A blob that came after K_old has nothing of it.
  for (auto& [blob, found] : of_blobs)
    for (CheckFinding& finding : found) {
      const bool later = finding.what.ends_with("no more") &&
                         std::ranges::any_of(backed, [blob = blob](const Slot& slot) {
                           return !is_member(slot, *blob);
                         });
      if (!later) out.push_back(std::move(finding));
    }
  for (const Slot& slot : backed) {
    uint32_t damaged = 0;
    Task<Result<Tables>> reading = read_tables(slot, blobs, pool_.identity.secret, &damaged);
    const auto tables = co_await reading;
    const std::string what = "the tables of checkpoint " + std::to_string(slot.number);
    if (!tables)
      out.push_back({"C5", what, tables.error().message});
    else if (damaged > 0)
      out.push_back(
          {"C5", what, std::to_string(damaged) + " pages are damaged in one of their two copies"});
  }
  co_return out;
}

Task<Result<>> Checker::check_fixed_places() {
  doing("superblocks, slots and tables", 0);
  Findings found;
  for (int look = 0; look < 2; ++look) {
    Findings now;
    const auto looking = [&](Epoch) -> Task<Result<>> {
      Task<Findings> task = look_at_fixed_places();
      now = co_await task;
      co_return Result<>{};
    };
    if (pool_.settings.read_only || !pool_.log.health())
      LAMINA_CO_TRY(co_await looking(pool_.identity.epoch));
    else
      LAMINA_CO_TRY(co_await pool_.checkpointer.between(looking));
    if (look > 0)  // what changes meanwhile (a blob that grows) is no damage
      std::erase_if(now, [&](const CheckFinding& one) {
        return std::ranges::find(found, one) == found.end();
      });
    found = std::move(now);
    if (found.empty()) co_return Result<>{};
    LAMINA_CO_TRY(go_on());
    const Sleep pause{100'000'000};
    if (look == 0) co_await pause;
  }
  add_all(std::move(found));
  co_return Result<>{};
}

}  // namespace lamina
