// SPDX-License-Identifier: Apache-2.0
// Copies that share. What of a range lies on whole blocks is logged resolved (C2): one alias for
// each piece of data, which names where that lies, one zero for each hole of the source where the
// target may have something. So the entries mean the same whatever is cleaned or overwritten later,
// and replay needs no map.
//
// An alias is a new pointer into an old segment. What keeps that segment (A4, A5):
//   - it is alive in the image that the look-up holds, or newer than that; as long as it is held,
//     nothing is freed that a newer image found dead;
//   - with its number s the segment counts as settled at s again (Space::share): no image whose cut
//     is smaller says anything of it, and a finding of one that is under way is not taken down. An
//     image of a cut past s has the alias in its maps;
//   - after a crash the checkpoint that is recovered from has a cut before s, or has the alias. If
//     before, nothing that was settled at s has been freed, and roll-forward settles it so again;
//   - where the mover has copied the segment's data elsewhere meanwhile, the alias still names the
//     old place. A checkpoint changes pointers in the leaves that it reads, not in layers; so that
//     place lives until the mover comes to it again, by a walk that knows of the alias.
//
// What must be durable before what: the data that an alias names, before the alias has a number. So
// the source is flushed between the look-up and the step: then no failure that is survived moves
// the data (A19), and no crash leaves an alias without it. Other file systems, which write back
// before they share, have taught everybody to expect that.
//
// Both ranges are locked meanwhile (A17): the target's, since what was there decides where holes
// are stated; the source's, so that nothing in it is given up as its owner's alone between the
// look-up and the step (A9). A fork takes no lock: if one came between, the look-up is made again.
#include <algorithm>
#include <optional>

#include "base/buffer.h"
#include "base/check.h"
#include "engine/mutation.h"
#include "engine/pool_state.h"

namespace lamina {
namespace {

constexpr size_t pieces_at_once = 512;          // shared by one call
constexpr uint64_t copied_at_once = 1 * mib;    // read and written by one call
constexpr size_t other_entries_bytes = 2 * 64;  // of a step, bound: the size, the reservation

// Two ranges, locked in the order (device, offset) and held until the end of the scope.
class HeldRanges {
 public:
  HeldRanges(DevicePtr a, BlockRange of_a, DevicePtr b, BlockRange of_b)
      : first_{std::move(a), of_a}, second_{std::move(b), of_b} {
    if (std::pair(second_.device->id, second_.range) < std::pair(first_.device->id, first_.range))
      std::swap(first_, second_);
  }
  HeldRanges(const HeldRanges&) = delete;
  HeldRanges& operator=(const HeldRanges&) = delete;
  ~HeldRanges() {
    for (const One* one : {&first_, &second_})
      if (one->held) one->device->locks.release(one->range);
  }
  Task<void> acquire() {
    for (One* one : {&first_, &second_}) {
      co_await one->device->locks.acquire(one->range);
      one->held = true;
    }
  }

 private:
  struct One {
    DevicePtr device;
    BlockRange range;
    bool held = false;
  };
  One first_, second_;
};

// Through memory: what lies on the two sides' blocks differently, and the edges.
Task<Result<uint64_t>> copy_bytes(Pool& pool, DeviceId from, uint64_t offset, DeviceId to,
                                  uint64_t to_offset, uint64_t length) {
  Buffer buffer(round_up(length, block_size));
  const std::span<std::byte> bytes = buffer.span().first(length);
  auto got = co_await pool.read(from, offset, bytes);
  if (!got) co_return forward_error(got);
  if (*got == 0) co_return uint64_t{0};
  auto written = co_await pool.write(to, to_offset, bytes.first(*got));
  if (!written) co_return forward_error(written);
  co_return uint64_t{*got};
}

}  // namespace

// What blocks of the target, from `begin` to `end`, become.
struct PoolState::Piece {
  enum Kind : uint8_t { nothing, zero, data };  // nothing: a hole over what was never written
  DeviceBlock begin{}, end{};
  Kind kind = nothing;
  Address address{};
};

struct PoolState::Looked {
  std::vector<Piece> pieces;  // of the target, without gaps, from its first block on
  ImagePtr pin;               // in which, or in whose layers, what they name is alive
  std::shared_ptr<ThinMap> map;
  Sequence last_fork = 0;
  uint64_t rewritten = 0;
  uint64_t reserved = 0;  // blocks of the target's reservation that they draw on
};

// C2: the source's extents, as the target's.
Task<Result<>> PoolState::look_up(const Share& what, Looked& looked) {
  looked = {};
  looked.rewritten = log.tail().rewritten();
  std::shared_ptr<ThinMap> target;
  bool reserves = false;
  {
    Lock order(log.order());
    looked.map = what.source->map;
    looked.last_fork = what.source->last_fork;
    target = what.target->map;
    reserves = what.target->reserved_blocks > 0;
  }
  auto resolved = co_await looked.map->resolve(nodes, what.of_source(), pieces_at_once);
  if (!resolved) co_return forward_error(resolved);
  looked.pin = std::move(resolved->pin);
  std::vector<Extent>& extents = resolved->extents;
  bool whole = extents.size() < pieces_at_once;
  if (!whole) extents.resize(pieces_at_once);

  const auto place = [&](DeviceBlock of_source) { return what.to + (of_source - what.from); };
  std::vector<Piece>& pieces = looked.pieces;
  const auto add_hole = [&](DeviceBlock begin, DeviceBlock end) {
    if (begin == end) return;
    if (!pieces.empty() && pieces.back().kind == Piece::zero)
      pieces.back().end = end;
    else
      pieces.push_back({begin, end, Piece::zero, {}});
  };
  DeviceBlock at = what.to;
  for (const Extent& extent : extents) {
    if (extent.kind == ExtentKind::lost) {
      whole = false;
      add_hole(at, place(extent.begin));
      at = place(extent.begin);
      break;
    }
    const DeviceBlock begin = place(extent.begin), end = place(extent.end);
    add_hole(at, begin);
    if (extent.kind == ExtentKind::zero)
      add_hole(begin, end);
    else
      pieces.push_back({begin, end, Piece::data, extent.address});
    at = end;
  }
  if (whole) add_hole(at, what.of_target().end);
  if (pieces.empty()) co_return fail(Code::io, "the range is lost (see .lamina/lost)");

  if (!target->untouched()) {
    for (Piece& piece : pieces) {
      if (piece.kind != Piece::zero) continue;
      auto there = co_await target->resolve(nodes, {piece.begin, piece.end}, 1);
      if (!there) co_return forward_error(there);
      if (there->extents.empty()) piece.kind = Piece::nothing;
    }
    if (reserves) {
      for (const Piece& piece : pieces)
        if (piece.kind != Piece::nothing)
          looked.reserved += co_await count_reserved(*target, {piece.begin, piece.end});
    }
  } else {
    for (Piece& piece : pieces)
      if (piece.kind == Piece::zero) piece.kind = Piece::nothing;
  }
  co_return Result<>{};
}

// Whether what was looked up may be logged now.
bool PoolState::still_so(const Share& what, const Looked& looked) {
  return what.source->map == looked.map && what.source->last_fork == looked.last_fork &&
         devices.find(what.source->id) == what.source && log.tail().rewritten() == looked.rewritten;
}

// A step of pieces, from `done` on; returns up to where it came.
DeviceBlock PoolState::share_step(const Share& what, Looked& looked, DeviceBlock done) {
  std::vector<Entry> entries;
  size_t packed = other_entries_bytes;
  auto at = std::partition_point(looked.pieces.begin(), looked.pieces.end(),
                                 [&](const Piece& piece) { return piece.end <= done; });
  for (; at != looked.pieces.end(); ++at) {
    if (at->kind != Piece::nothing) {
      Entry entry;
      entry.kind = at->kind == Piece::data ? EntryKind::alias : EntryKind::zero;
      entry.map = what.target->map->id();
      entry.begin = at->begin;
      entry.length = at->end - at->begin;
      if (at->kind == Piece::data) {
        entry.address = at->address;
        entry.source_map = looked.map->id();
      }
      const size_t bytes = packed_bound(entry);
      if (packed + bytes > Log::worst_step_bytes) break;
      packed += bytes;
      entries.push_back(std::move(entry));
    }
    done = at->end;
  }
  const bool grows = done.byte_offset() > what.target->size_bytes;
  const uint64_t reserved = std::exchange(looked.reserved, 0);
  if (entries.empty() && !grows) return done;
  log.begin(packed, 0);
  if (grows) {  // F7: one step
    Entry grow;
    grow.kind = EntryKind::resize;
    grow.device = what.target->id;
    grow.size_bytes = done.byte_offset();
    log_and_apply(std::move(grow), {});
  }
  if (reserved > 0) log_and_apply(release_reservation(*what.target, reserved), {});
  for (Entry& entry : entries) log_and_apply(std::move(entry), {});
  return done;
}

// Where the target grows, what lies behind its end is zeroed first (C3). `covered` false: the end
// has come to lie before what is held.
Task<Result<>> PoolState::grow_to_share(DevicePtr target, BlockRange held, bool& covered) {
  uint64_t size = 0;
  {
    Lock order(log.order());
    size = target->size_bytes;
  }
  covered = true;
  if (held.end.byte_offset() <= size || size % block_size == 0) co_return Result<>{};
  covered = held.contains(DeviceBlock{size / block_size});
  if (covered) co_return co_await zero_behind_end(target);
  co_return Result<>{};
}

Task<Result<uint64_t>> PoolState::share(Share what) {
  BlockRange of_target = what.of_target();
  for (;;) {
    {
      Lock order(log.order());
      const DeviceBlock end{what.target->size_bytes / block_size};
      of_target.begin = std::min(of_target.begin, end);
    }
    // It ends before what was to be copied, by now.
    if (what.source == what.target && of_target.overlaps(what.of_source())) co_return uint64_t{0};
    HeldRanges held(what.source, what.of_source(), what.target, of_target);
    co_await held.acquire();
    { Lock order(log.order()); }  // whoever found a range free before has applied its step
    bool covered = false;
    LAMINA_CO_TRY(co_await grow_to_share(what.target, of_target, covered));
    if (!covered) continue;

    for (;;) {
      LAMINA_CO_TRY(writable());
      // Not while something is held that keeps space from being freed.
      LAMINA_CO_TRY(co_await log.wait_for_room(0, Claim::user));
      Looked looked;
      LAMINA_CO_TRY(co_await look_up(what, looked));
      Sequence through = 0;
      {
        Lock order(log.order());
        through = what.source->last_change;
      }
      if (!mutated(Mutation::share_what_is_lost)) LAMINA_CO_TRY(co_await log.flush(through));
      DeviceBlock done = what.to;
      const DeviceBlock until = looked.pieces.back().end;
      for (bool more = true; more && done < until;) {
        Lock order(log.order());
        LAMINA_CO_TRY(takes_changes(*what.target, {done, until}));
        more = log.has_room(0, Claim::user) && still_so(what, looked);
        if (more) done = share_step(what, looked, done);
      }
      if (done > what.to) co_return (done - what.to).bytes();
      Lock order(log.order());
      if (devices.find(what.source->id) != what.source) co_return fail(Code::not_found);
    }
  }
}

// F6, E10: a device that was never written takes a whole other one over, as one that is forked from
// it. False: it is not so.
Task<Result<bool>> PoolState::take_over(DevicePtr source, DevicePtr target, uint64_t bytes) {
  size_t layers = 0;
  {
    Lock order(log.order());
    if (!target->map->untouched()) co_return false;
    layers = source->map->layers();
  }
  if (layers >= ThinMap::most_layers) LAMINA_CO_TRY(co_await checkpointer.run());
  const BlockRange all{DeviceBlock{0}, device_end};
  co_await target->locks.acquire(all);
  HeldRange held(target->locks, all);
  { Lock order(log.order()); }
  bool taken = false;
  auto stepped = co_await step(Claim::user, 0, [&]() -> Result<std::vector<StepEntry>> {
    std::vector<StepEntry> list;
    taken = target->map->untouched() && target->size_bytes <= source->size_bytes &&
            source->size_bytes <= bytes && devices.find(source->id) == source;
    if (!taken) return list;
    Entry entry;
    entry.kind = EntryKind::new_map;
    entry.device = target->id;
    entry.map = devices.next_map();
    entry.source_map = source->map->id();
    entry.size_bytes = source->size_bytes;
    list.push_back({std::move(entry), {}});
    return list;
  });
  if (!stepped) co_return forward_error(stepped);
  if (layers >= ThinMap::many_layers) start_checkpoint();
  co_return taken;
}

Task<Result<uint64_t>> Pool::copy(DeviceId from, uint64_t offset, DeviceId to, uint64_t to_offset,
                                  uint64_t length) {
  PoolState& s = *state_;
  auto found = s.writable_device(to);
  if (!found) co_return forward_error(found);
  const DevicePtr target = found->device;
  DevicePtr source;
  uint64_t size = 0;
  {
    Lock order(s.log.order());
    source = s.devices.find(from);
    if (!source) co_return fail(Code::not_found);
    size = source->size_bytes;
  }
  if (offset >= size || length == 0) co_return uint64_t{0};
  length = std::min(length, size - offset);
  auto end = PoolState::end_of(to_offset, length);
  if (!end) co_return forward_error(end);
  if (source == target && offset < *end && to_offset < offset + length)
    co_return fail(Code::invalid, "the ranges overlap");
  if (source != target && offset == 0 && to_offset == 0 && length == size) {
    auto taken = co_await s.take_over(source, target, length);
    if (!taken) co_return forward_error(taken);
    if (*taken) co_return length;
  }

  const bool agree = offset % block_size == to_offset % block_size;
  uint64_t done = 0;
  for (bool more = true; more && done < length;) {
    const uint64_t at = offset + done, to_at = to_offset + done, left = length - done;
    const uint64_t blocks = agree && at % block_size == 0 ? left / block_size : 0;
    Result<uint64_t> part;
    if (blocks > 0) {
      PoolState::Share share{source, target, DeviceBlock{at / block_size},
                             DeviceBlock{to_at / block_size}, BlockCount{blocks}};
      part = co_await s.share(std::move(share));
      more = part && *part == blocks * block_size;
    } else {
      const uint64_t bytes = std::min(left, agree ? block_size - at % block_size : copied_at_once);
      part = co_await copy_bytes(*this, from, at, to, to_at, bytes);
      more = agree && part && *part == bytes;
    }
    if (!part && done == 0) co_return part;
    if (part) done += *part;
  }
  co_return done;
}

}  // namespace lamina
