// SPDX-License-Identifier: Apache-2.0
// Writes: whole blocks go into the open record in one step that cannot wait; what is not block
// aligned is read, changed and written back under a range lock.
#include <algorithm>
#include <cstring>

#include "base/buffer.h"
#include "engine/mutation.h"
#include "engine/pool_state.h"

namespace lamina {
namespace {

// The longest run of blocks from the front that are all zero, or all not.
struct Run {
  uint32_t blocks = 0;
  bool zero = false;
};

Run first_run(std::span<const std::byte> data, uint32_t limit) {
  Run run;
  run.zero = all_zero(data.first(block_size));
  const auto blocks = static_cast<uint32_t>(
      std::min<uint64_t>(data.size() / block_size, run.zero ? UINT32_MAX : limit));
  run.blocks = 1;
  while (run.blocks < blocks &&
         all_zero(data.subspan(size_t{run.blocks} * block_size, block_size)) == run.zero)
    ++run.blocks;
  return run;
}

constexpr size_t range_entry_bytes = 64;  // bound of one, packed

Task<Result<>> ended(Result<> result) {
  co_return result;
}

}  // namespace

Result<uint64_t> PoolState::end_of(uint64_t offset, uint64_t length) {
  if (offset > max_device_bytes || length > max_device_bytes - offset)
    return fail(Code::too_big, "a device has at most 1 PiB");
  return offset + length;
}

Result<PoolState::Writable> PoolState::writable_device(DeviceId id) {
  Lock order(log.order());
  LAMINA_TRY(writable(log.health_now()));
  DevicePtr device = devices.find(id);
  if (!device) return fail(Code::not_found);
  if (device->read_only) return fail(Code::read_only, "the device is read-only");
  const uint64_t size_bytes = device->size_bytes;
  return Writable{std::move(device), size_bytes};
}

// O_TRUNC gives a device another map at any moment; this one stays as long as its holder.
std::shared_ptr<ThinMap> PoolState::map_of(const Device& device) {
  Lock order(log.order());
  return device.map;
}

// Half a segment of the last two: more, and it fills the log rather than uses it.
Log::Pace PoolState::pace_of(const Device& device) {
  const uint64_t segment = uint64_t{space.segment_blocks()} * block_size;
  return device.recent.at(log.ordinal()) * 2 > segment ? Log::Pace::streaming : Log::Pace::steady;
}

Result<> PoolState::takes_changes(const Device& device, BlockRange range, bool erases) {
  if (!device.map->refuses(range, erases)) return {};
  return fail(Code::io, "what '" + device.name +
                            "' has there cannot be changed before a node that is lost is back "
                            "(see .lamina/lost); `lamina repair` may find more of it");
}

// The block of a read-modify-write. What lies behind the device's end inside it is nobody's and
// goes with the change (C3).
Task<Result<>> PoolState::read_to_change(const Device& device, DeviceBlock block,
                                         std::span<std::byte> into) {
  uint64_t size = 0;
  std::shared_ptr<ThinMap> map;
  {
    Lock order(log.order());
    size = device.size_bytes;
    map = device.map;
  }
  const BlockRange one{block, block + BlockCount{1}};
  LAMINA_CO_TRY(co_await read_blocks(*map, one, into));
  const uint64_t begin = block.byte_offset();
  if (size > begin && size < begin + block_size)
    std::memset(into.data() + (size - begin), 0, begin + block_size - size);
  co_return Result<>{};
}

Task<Result<>> PoolState::write_blocks(Write w) {
  while (!w.data.empty()) {
    const Run run = first_run(w.data, log.step_blocks());
    const BlockRange range{w.begin, w.begin + BlockCount{run.blocks}};
    const uint32_t payload = run.zero ? 0 : run.blocks;
    // Edges of what must always work draw on the log's share (D7).
    if (payload > 0 && w.claim == Claim::user && !admits(payload)) {
      auto admitted = co_await admit(*w.device, range);
      if (!admitted) co_return admitted;
    }
    uint64_t reserved = 0;
    if (w.holds_range) reserved = co_await reserved_in(*w.device, range);
    bool in_turn = false, done = false;
    Log::Pace pace = Log::Pace::steady;
    {
      Lock order(log.order());
      LAMINA_CO_TRY(takes_changes(*w.device, range));
      pace = pace_of(*w.device);
      if (!w.holds_range && (w.device->reserved_blocks > 0 || !w.device->locks.free(range))) {
        in_turn = true;
      } else if (log.has_room(payload, w.claim, pace)) {
        log.begin(3 * range_entry_bytes, payload);
        const uint64_t end = std::min(w.end_bytes, range.end.byte_offset());
        if (end > w.device->size_bytes) {  // F7: one step
          Entry grow;
          grow.kind = EntryKind::resize;
          grow.device = w.device->id;
          grow.size_bytes = end;
          log_and_apply(std::move(grow), {});
        }
        Entry entry;
        entry.kind = run.zero ? EntryKind::zero : EntryKind::write;
        entry.map = w.device->map->id();
        entry.begin = range.begin;
        entry.length = range.length();
        const size_t bytes = range.length().bytes();
        if (reserved > 0) log_and_apply(release_reservation(*w.device, reserved), {});
        log_and_apply(std::move(entry),
                      run.zero ? std::span<const std::byte>{} : w.data.first(bytes));
        counters.written_user += bytes;
        w.device->recent.add(log.ordinal(), bytes);
        unmerged_blocks += payload;
        done = true;
      }
    }
    if (in_turn) {
      Write part = w;
      part.data = w.data.first(range.length().bytes());
      LAMINA_CO_TRY(co_await write_in_turn(std::move(part), range));
    } else if (!done) {
      auto room = co_await log.wait_for_room(payload, w.claim, pace);
      if (!room) co_return room;
      continue;
    }
    w.data = w.data.subspan(range.length().bytes());
    w.begin = range.end;
  }
  co_return Result<>{};
}

// Behind whatever reads, changes and writes back here; and two that write to the same part of a
// reservation draw on it once.
Task<Result<>> PoolState::write_in_turn(Write w, BlockRange range) {
  const DevicePtr device = w.device;
  co_await device->locks.acquire(range);
  HeldRange held(device->locks, range);
  { Lock order(log.order()); }  // whoever found the range free before has applied its step
  w.holds_range = true;
  co_return co_await write_blocks(std::move(w));
}

Task<uint64_t> PoolState::reserved_in(const Device& device, BlockRange range) {
  std::shared_ptr<ThinMap> map;
  {
    Lock order(log.order());
    if (device.reserved_blocks > 0) map = device.map;
  }
  if (!map) co_return 0;
  co_return co_await count_reserved(*map, range);
}

Task<uint64_t> PoolState::count_reserved(ThinMap& map, BlockRange range) {
  uint64_t count = 0;
  auto resolved = co_await map.resolve(nodes, range, SIZE_MAX);
  if (!resolved) co_return count;
  for (const Extent& extent : resolved->extents)
    if (extent.reserved) count += extent.length().value;
  co_return count;
}

// D8: the counter goes down with the first write of what was preallocated, or its discard.
Entry PoolState::release_reservation(Device& device, uint64_t blocks) {
  const uint64_t used = std::min(blocks, device.reserved_blocks);
  Entry entry;
  entry.kind = EntryKind::reserve;
  entry.device = device.id;
  entry.map = device.map->id();
  entry.size_bytes = device.reserved_blocks - used;
  return entry;
}

Task<Result<>> PoolState::zero_behind_end(DevicePtr device) {
  uint64_t size = 0;
  {
    Lock order(log.order());
    size = device->size_bytes;
  }
  const uint64_t inside = size % block_size;
  if (inside == 0) co_return Result<>{};
  const BlockRange last{DeviceBlock{size / block_size}, DeviceBlock{size / block_size + 1}};
  Buffer block(block_size);
  auto read = co_await read_blocks(*device->map, last, block.span());
  if (!read) co_return read;
  const auto behind = block.span().subspan(inside);
  if (all_zero(behind)) co_return Result<>{};
  std::memset(behind.data(), 0, behind.size());
  Write write;
  write.device = device;
  write.begin = last.begin;
  write.data = block.span();
  write.holds_range = true;
  write.claim = Claim::log;
  co_return co_await write_blocks(std::move(write));
}

Task<Result<>> Pool::write(DeviceId id, uint64_t offset, std::span<const std::byte> from) {
  PoolState& s = *state_;
  auto found = s.writable_device(id);
  if (!found) return ended(forward_error(found));
  auto end = PoolState::end_of(offset, from.size());
  if (!end) return ended(forward_error(end));
  if (from.empty()) return ended({});
  const uint64_t size = found->size_bytes;
  const bool grows_past_part = *end > size && size % block_size != 0;
  PoolState::Write write;
  write.device = found->device;
  write.begin = DeviceBlock{offset / block_size};
  write.end_bytes = *end;
  if (grows_past_part || offset % block_size != 0 || from.size() % block_size != 0)
    return s.write_parts(std::move(write), offset, from, size);
  write.data = from;
  return s.write_blocks(std::move(write));
}

// Some of it does not begin or end with a block, or the device's end up to now does not.
Task<Result<>> PoolState::write_parts(Write write, uint64_t offset,
                                      std::span<const std::byte> from, uint64_t size) {
  const DevicePtr device = write.device;
  const uint64_t end = write.end_bytes;
  const BlockRange range{write.begin, DeviceBlock{div_up(end, block_size)}};
  const bool aligned = offset % block_size == 0 && from.size() % block_size == 0;
  const bool grows_past_part = end > size && size % block_size != 0;
  BlockRange locked = range;
  if (grows_past_part) locked.begin = std::min(locked.begin, DeviceBlock{size / block_size});
  co_await device->locks.acquire(locked);
  HeldRange held(device->locks, locked);
  { Lock order(log.order()); }  // whoever found the range free before has applied its step
  if (grows_past_part) LAMINA_CO_TRY(co_await zero_behind_end(device));
  write.holds_range = true;
  if (aligned) {
    write.data = from;
    co_return co_await write_blocks(std::move(write));
  }
  Buffer whole(range.length().bytes());
  const DeviceBlock last = range.end - BlockCount{1};
  const bool head = offset % block_size != 0 || range.length().value == 1;
  if (head) {
    auto read = co_await read_to_change(*device, range.begin, whole.blocks(0, 1));
    if (!read) co_return read;
  }
  if (end % block_size != 0 && !(head && last == range.begin)) {
    auto read = co_await read_to_change(*device, last, whole.blocks(range.length().value - 1, 1));
    if (!read) co_return read;
  }
  std::memcpy(whole.data() + offset % block_size, from.data(), from.size());
  write.data = whole.span();
  co_return co_await write_blocks(std::move(write));
}

// ---------------------------------------------------------------- ranges without data

Task<Result<>> Pool::erase(DeviceId id, uint64_t offset, uint64_t length) {
  PoolState& s = *state_;
  auto found = s.writable_device(id);
  if (!found) co_return forward_error(found);
  DevicePtr device = found->device;
  auto past = PoolState::end_of(offset, length);
  if (!past) co_return forward_error(past);
  if (length == 0) co_return Result<>{};
  const BlockRange range{DeviceBlock{offset / block_size}, DeviceBlock{div_up(*past, block_size)}};
  co_await device->locks.acquire(range);
  HeldRange held(device->locks, range);
  { Lock order(s.log.order()); }
  uint64_t size = 0;
  {
    Lock order(s.log.order());
    size = device->size_bytes;
  }
  const uint64_t end = std::min(*past, size);
  if (offset >= end) co_return Result<>{};

  // D7: the edges are read-modify-writes, and draw on the log's reserve.
  const uint64_t whole_begin = round_up(offset, block_size);
  const uint64_t whole_end = end == size ? round_up(end, block_size) : round_down(end, block_size);
  struct Edge {
    uint64_t begin, end;  // bytes inside one block
  };
  std::vector<Edge> edges;
  if (whole_begin > whole_end) {
    edges.push_back({offset, end});
  } else {
    if (offset < whole_begin) edges.push_back({offset, std::min(whole_begin, end)});
    if (whole_end < end) edges.push_back({whole_end, end});
  }
  for (const Edge& edge : edges) {
    const BlockRange one{DeviceBlock{edge.begin / block_size},
                         DeviceBlock{edge.begin / block_size + 1}};
    Buffer block(block_size);
    auto read = co_await s.read_to_change(*device, one.begin, block.span());
    if (!read) co_return read;
    auto cleared = block.span().subspan(edge.begin % block_size, edge.end - edge.begin);
    if (all_zero(cleared)) continue;
    std::memset(cleared.data(), 0, cleared.size());
    PoolState::Write write;
    write.device = device;
    write.begin = one.begin;
    write.data = block.span();
    write.holds_range = true;
    write.claim = Claim::log;
    LAMINA_CO_TRY(co_await s.write_blocks(std::move(write)));
  }
  if (whole_begin >= whole_end) co_return Result<>{};
  const BlockRange whole{DeviceBlock{whole_begin / block_size},
                         DeviceBlock{whole_end / block_size}};
  // Discarding what was preallocated gives the reservation back.
  const uint64_t reserved = co_await s.reserved_in(*device, whole);
  co_return co_await s.step(Claim::log, 0, [&]() -> Result<std::vector<PoolState::StepEntry>> {
    std::vector<PoolState::StepEntry> list;
    Entry entry;
    entry.kind = EntryKind::zero;
    entry.map = device->map->id();
    entry.begin = whole.begin;
    entry.length = whole.length();
    LAMINA_TRY(PoolState::takes_changes(*device, whole, true));
    list.push_back({std::move(entry), {}});
    if (reserved > 0) list.push_back({s.release_reservation(*device, reserved), {}});
    return list;
  });
}

// Whether what would be left of the last block holds nothing: then it goes as a whole. Nothing
// hangs on it, so what cannot be read is left as it is.
Task<bool> PoolState::all_zero_before(const Device& device, uint64_t size_bytes) {
  Buffer block(block_size);
  const DeviceBlock last{size_bytes / block_size};
  auto read = co_await read_to_change(device, last, block.span());
  co_return read.has_value() && all_zero(block.span().first(size_bytes % block_size));
}

Task<Result<>> Pool::resize(DeviceId id, uint64_t size_bytes) {
  PoolState& s = *state_;
  if (size_bytes > max_device_bytes) co_return fail(Code::too_big, "a device has at most 1 PiB");
  auto found = s.writable_device(id);
  if (!found) co_return forward_error(found);
  DevicePtr device = found->device;
  const uint64_t size = found->size_bytes;
  if (size == size_bytes) co_return Result<>{};
  const BlockRange locked{DeviceBlock{std::min(size, size_bytes) / block_size}, device_end};
  co_await device->locks.acquire(locked);
  HeldRange held(device->locks, locked);
  { Lock order(s.log.order()); }
  if (size_bytes > size) LAMINA_CO_TRY(co_await s.zero_behind_end(device));
  BlockRange gone{DeviceBlock{div_up(size_bytes, block_size)}, device_end};
  if (size_bytes < size && size_bytes % block_size != 0) {
    const bool nothing_left = co_await s.all_zero_before(*device, size_bytes);
    if (nothing_left) gone.begin = gone.begin - BlockCount{1};
  }
  uint64_t reserved = 0;
  if (size_bytes < size) reserved = co_await s.reserved_in(*device, gone);
  co_return co_await s.step(Claim::log, 0, [&]() -> Result<std::vector<PoolState::StepEntry>> {
    std::vector<PoolState::StepEntry> list;
    if (size_bytes < device->size_bytes &&
        !mutated(
            Mutation::keep_behind_end)) {  // C3: an erase to infinity and the size, in one step
      Entry entry;
      entry.kind = EntryKind::zero;
      entry.map = device->map->id();
      entry.begin = gone.begin;
      entry.length = gone.length();
      LAMINA_TRY(PoolState::takes_changes(*device, gone, true));
      list.push_back({std::move(entry), {}});
    }
    if (reserved > 0) list.push_back({s.release_reservation(*device, reserved), {}});
    Entry entry;
    entry.kind = EntryKind::resize;
    entry.device = id;
    entry.size_bytes = size_bytes;
    list.push_back({std::move(entry), {}});
    return list;
  });
}

Task<Result<>> Pool::truncate_to_empty(DeviceId id) {
  PoolState& s = *state_;
  auto found = s.writable_device(id);
  if (!found) co_return forward_error(found);
  DevicePtr device = found->device;
  const BlockRange everything{DeviceBlock{0}, device_end};
  co_await device->locks.acquire(everything);
  HeldRange held(device->locks, everything);
  co_return co_await s.step(Claim::log, 0, [&]() -> Result<std::vector<PoolState::StepEntry>> {
    std::vector<PoolState::StepEntry> list;
    if (device->size_bytes == 0 && device->map->untouched()) return list;
    Entry entry;
    entry.kind = EntryKind::new_map;
    entry.device = id;
    entry.map = s.devices.next_map();
    entry.size_bytes = 0;
    list.push_back({std::move(entry), {}});
    return list;
  });
}

// Logged resolved: one entry for each piece that holds no data, so that replay needs no map.
Task<Result<>> Pool::reserve(DeviceId id, uint64_t offset, uint64_t length, bool keep_size) {
  PoolState& s = *state_;
  auto found = s.writable_device(id);
  if (!found) co_return forward_error(found);
  DevicePtr device = found->device;
  auto end = PoolState::end_of(offset, length);
  if (!end) co_return forward_error(end);
  const BlockRange range{DeviceBlock{offset / block_size}, DeviceBlock{div_up(*end, block_size)}};
  co_await device->locks.acquire(range);
  HeldRange held(device->locks, range);
  { Lock order(s.log.order()); }
  std::vector<BlockRange> pieces;
  uint64_t blocks = 0;
  bool reserves = false;
  {
    Lock order(s.log.order());
    reserves = device->reserved_blocks > 0;
  }
  auto add = [&](DeviceBlock begin, DeviceBlock piece_end) {
    if (begin >= piece_end) return;
    blocks += (piece_end - begin).value;
    if (!pieces.empty() && pieces.back().end == begin)
      pieces.back().end = piece_end;
    else
      pieces.push_back({begin, piece_end});
  };
  {
    // Not held while room is waited for: what it pins could not be freed.
    auto resolved = co_await device->map->resolve(s.nodes, range, SIZE_MAX);
    if (!resolved) co_return forward_error(resolved);
    DeviceBlock at = range.begin;
    for (const Extent& extent : resolved->extents) {
      add(at, extent.begin);
      if (extent.kind == ExtentKind::zero && !(extent.reserved && reserves))
        add(extent.begin, extent.end);
      at = extent.end;
    }
    add(at, range.end);
  }
  if (blocks > 0 && !s.admits(blocks)) {
    LAMINA_CO_TRY(co_await s.checkpointer.run());
    if (!s.admits(blocks)) co_return fail(Code::no_space, "the pool cannot reserve so much");
  }
  const bool check_only = s.settings.preallocate == Settings::Preallocate::check;
  for (const BlockRange& piece : pieces) {
    if (check_only) break;
    LAMINA_CO_TRY(
        co_await s.step(Claim::user, 0, [&]() -> Result<std::vector<PoolState::StepEntry>> {
          std::vector<PoolState::StepEntry> list;
          Entry entry;
          entry.kind = EntryKind::reserve;
          entry.device = id;
          entry.map = device->map->id();
          entry.begin = piece.begin;
          entry.length = piece.length();
          entry.size_bytes = device->reserved_blocks + piece.length().value;
          list.push_back({std::move(entry), {}});
          return list;
        }));
  }
  if (keep_size) co_return Result<>{};
  bool grows = false;
  {
    Lock order(s.log.order());
    grows = *end > device->size_bytes;
  }
  if (!grows) co_return Result<>{};
  LAMINA_CO_TRY(co_await s.zero_behind_end(device));
  co_return co_await s.step(Claim::log, 0, [&]() -> Result<std::vector<PoolState::StepEntry>> {
    std::vector<PoolState::StepEntry> list;
    if (*end <= device->size_bytes) return list;
    Entry entry;
    entry.kind = EntryKind::resize;
    entry.device = id;
    entry.size_bytes = *end;
    list.push_back({std::move(entry), {}});
    return list;
  });
}

}  // namespace lamina
