// SPDX-License-Identifier: Apache-2.0
// The workload's operations on data, and those that make it durable.
#include <algorithm>
#include <array>
#include <cstdio>

#include "text.h"
#include "workload.h"

namespace lamina::sim {

void Workload::check_blocks(const ModelDevice& device, uint64_t offset,
                            std::span<const std::byte> bytes) {
  std::array<std::byte, block_size> expected;
  const uint64_t end = offset + bytes.size();
  for (uint64_t block = offset / block_size; block * block_size < end; ++block) {
    const uint64_t start = block * block_size;
    const uint64_t from = std::max(start, offset), to = std::min(start + block_size, end);
    device.block(block).fill(expected);
    if (begins_with(std::span(expected).subspan(from - start),
                    bytes.subspan(from - offset, to - from)))
      continue;
    report_.violation(text("a read of block ", block, " of device ", device.tag, " shows ",
                           describe_block(bytes.subspan(from - offset, to - from)), " instead of ",
                           device.block(block).describe()));
    return;
  }
}

Task<void> Workload::do_write(Action action) {
  const DeviceRef device = choose_device();
  if (!device || device->read_only.current()) co_return;
  const uint64_t size = device->bytes();
  const uint64_t reach = chance(12) ? options_.device_blocks * block_size
                                    : std::min(size, options_.device_blocks * block_size);
  uint64_t offset = below(reach + 1), length;
  if (options_.far_places && size > gib && chance(20)) offset = below(size);
  if (action == Action::write_part) {
    length = 1 + below(chance(80) ? 2 * block_size : 20 * block_size);
  } else {
    offset = round_down(offset, block_size);
    length = block_size * (1 + below(action == Action::write_large ? options_.large_blocks : 6));
  }
  if (chance(20)) offset = round_down(below(reach + 1) % (8 * block_size), block_size);
  const uint64_t first = offset / block_size, last = div_up(offset + length, block_size);
  const bool grows = offset + length > size;
  const Lease lease{device.get(), first, last, grows ? Lease::whole_device : Lease::exclusive};
  if (!available(lease)) co_return;
  const Held held = hold(lease);

  const uint64_t version = oracle_.next_version();
  const unsigned zeroes = chance(20) ? 50 : chance(5) ? 100 : 0;
  std::vector<bool> zero(last - first);
  for (size_t i = 0; i < zero.size(); ++i) zero[i] = chance(zeroes);
  Buffer buffer(length);
  const std::span<std::byte> data = buffer.span().first(length);
  Oracle::pattern(*device, offset, version, zero, data);
  const uint64_t shares = device->shares;
  bool alone = !grows;
  for (uint64_t block = first; block < last; ++block)
    if (device->alone.erase(block) == 0) alone = false;
  const OperationIndex operation = oracle_.write(*device, offset, version, zero, data);
  auto task = store_.write(device->id, offset, data);
  const Result<> result = co_await task;
  if (broken(result)) co_return;
  // What was shared while it waited is not its own for certain any more.
  alone = alone && device->shares == shares;
  if (answered(result, oracle_.operations().at(operation).what, !alone)) {
    oracle_.completed(operation);
    for (uint64_t block = first; block < last && device->shares == shares; ++block)
      if (!device->block(block).zero()) device->alone.insert(block);
  } else if (report_.ok()) {
    auto back = read_back(operation, device, first, last - first);
    co_await back;
  }
  leases_.erase(held);
}

Task<void> Workload::read_back(OperationIndex operation, DeviceRef device, uint64_t first,
                               uint64_t blocks) {
  Buffer buffer(blocks * block_size);
  auto task = store_.read(device->id, first * block_size, buffer.span());
  const Result<size_t> got = co_await task;
  if (!got) {
    report_.violation("what a failed operation left cannot be read");
    co_return;
  }
  uint64_t size = device->bytes();
  if (const Result<DeviceInfo> info = store_.info(device->id)) size = info->size_bytes;
  oracle_.settle_failed(operation, *device, size, first, buffer.span().first(*got), report_);
}

Task<void> Workload::do_read() {
  const DeviceRef device = choose_device();
  if (!device) co_return;
  const uint64_t size = device->bytes();
  uint64_t offset = below(std::min(size, options_.device_blocks * block_size) + block_size);
  if (size > gib && !device->blocks.empty() && chance(30))
    offset = device->blocks.rbegin()->first * block_size;
  if (options_.hot_blocks > 0 && chance(70)) offset = below(options_.hot_blocks * block_size);
  uint64_t length = 1 + below(chance(70) ? 8 * block_size : 100 * block_size);
  if (chance(50)) {
    offset = round_down(offset, block_size);
    length = round_up(length, block_size);
  }
  const Lease lease{device.get(), offset / block_size, div_up(offset + length, block_size),
                    Lease::shared};
  if (!available(lease)) co_return;
  const Held held = hold(lease);
  Buffer buffer(length);
  const std::span<std::byte> into = buffer.span().first(length);
  auto task = store_.read(device->id, offset, into);
  const Result<size_t> got = co_await task;
  // The size may be changing unless nobody else grows or cuts the device, which takes it whole.
  const uint64_t expected = offset >= size ? 0 : std::min<uint64_t>(length, size - offset);
  if (answered(got, "read")) {
    if (*got != expected)
      report_.violation(text("a read of ", length, " bytes at ", offset, " of device ", device->tag,
                             " of ", size, " bytes returned ", *got));
    else
      check_blocks(*device, offset, into.first(*got));
  }
  leases_.erase(held);
}

// Until all of it is done, in as many calls as that takes; both sides are the caller's meanwhile.
// False: nobody knows what became of it, so what it holds must be kept.
Task<bool> Workload::copy(DeviceRef source, uint64_t offset, DeviceRef target, uint64_t to_offset,
                          uint64_t length) {
  while (length > 0 && report_.ok()) {
    // Neither side has anything older for certain any more (A9); nor what was written meanwhile,
    // which may have come before it.
    source->share();
    target->share();
    const OperationIndex operation = oracle_.copy(*source, offset, *target, to_offset, length);
    auto task = store_.copy(source->id, offset, target->id, to_offset, length);
    const Result<uint64_t> done = co_await task;
    source->share();
    target->share();
    if (broken(done ? Result<>{} : Result<>(std::unexpect, done.error()))) co_return false;
    if (!answered(done, oracle_.operations().at(operation).what)) {
      if (!report_.ok()) co_return true;
      const uint64_t first = to_offset / block_size;
      auto back =
          read_back(operation, target, first, div_up(to_offset + length, block_size) - first);
      co_await back;
      co_return true;
    }
    if (*done == 0 || *done > length)
      report_.violation(text("'", oracle_.operations().at(operation).what, "' did ", *done));
    if (*done < length) oracle_.shortened(operation, *target, to_offset + *done);
    oracle_.completed(operation);
    offset += *done;
    to_offset += *done;
    length -= std::min(*done, length);
  }
  co_return true;
}

// Mostly of whole blocks to whole blocks, which are shared.
Task<void> Workload::do_copy() {
  const DeviceRef source = choose_device(), target = choose_device();
  if (!source || !target || target->read_only.current()) co_return;
  const uint64_t size = std::min(source->bytes(), options_.device_blocks * block_size);
  if (size == 0) co_return;
  uint64_t offset = below(size), length = 1 + below((chance(80) ? 20 : 200) * block_size);
  uint64_t to_offset = below(std::min(target->bytes(), options_.device_blocks * block_size) + 1);
  if (chance(85)) {
    offset = round_down(offset, block_size);
    to_offset = round_down(to_offset, block_size);
    if (chance(70)) length = round_up(length, block_size);
  } else if (chance(50)) {
    to_offset = round_down(to_offset, block_size) + offset % block_size;
  }
  length = std::min(length, source->bytes() - offset);
  const uint64_t end = to_offset + length;
  const Lease of_source{source.get(), offset / block_size, div_up(offset + length, block_size),
                        Lease::shared};
  const Lease of_target{target.get(), to_offset / block_size, div_up(end, block_size),
                        end > target->bytes() ? Lease::whole_device : Lease::exclusive};
  if (!available(of_source) || !available(of_target)) co_return;
  if (source == target && offset < end && to_offset < offset + length) {
    auto task = store_.copy(source->id, offset, target->id, to_offset, length);
    const Result<uint64_t> result = co_await task;
    if (result || (result.error().code != Code::invalid && !options_.may_break))
      report_.violation("a device was copied over itself");
    co_return;
  }
  const bool apart = of_source.end <= of_target.begin || of_target.end <= of_source.begin;
  if (source == target && !apart) co_return;
  const Held source_held = hold(of_source), target_held = hold(of_target);
  auto copying = copy(source, offset, target, to_offset, length);
  if (!co_await copying) co_return;
  leases_.erase(source_held);
  leases_.erase(target_held);
}

// As `cp` over another device does it, which empties that first.
Task<void> Workload::do_copy_all() {
  const DeviceRef source = choose_device(), target = choose_device();
  if (!source || source == target || target->read_only.current()) co_return;
  if (source->bytes() == 0 || source->bytes() > 2 * options_.device_blocks * block_size) co_return;
  const Lease of_source{source.get(), 0, UINT64_MAX, Lease::shared};
  const Lease of_target{target.get(), 0, 0, Lease::whole_device};
  if (!available(of_source) || !available(of_target)) co_return;
  const Held source_held = hold(of_source), target_held = hold(of_target);
  if (chance(80)) {
    const OperationIndex operation = oracle_.truncate_to_empty(*target);
    auto emptying = store_.truncate_to_empty(target->id);
    const Result<> emptied = co_await emptying;
    if (!ended(emptied, operation, false)) co_return;
  }
  auto copying = copy(source, 0, target, 0, source->bytes());
  if (!co_await copying) co_return;
  leases_.erase(source_held);
  leases_.erase(target_held);
}

Task<void> Workload::do_erase() {
  const DeviceRef device = choose_device();
  if (!device || device->read_only.current()) co_return;
  const uint64_t reach = std::min(device->bytes(), options_.device_blocks * block_size);
  uint64_t offset = below(reach + 1);
  uint64_t length = 1 + below(chance(80) ? 20 * block_size : reach + 1);
  if (chance(60)) {
    offset = round_down(offset, block_size);
    length = round_up(length, block_size);
  }
  if (chance(8)) length = std::max<uint64_t>(length, device->bytes());
  if (chance(5)) length = max_device_bytes - offset;
  const Lease lease{device.get(), offset / block_size, div_up(offset + length, block_size),
                    Lease::exclusive};
  if (!available(lease)) co_return;
  const Held held = hold(lease);
  device->alone.erase(device->alone.lower_bound(lease.begin), device->alone.lower_bound(lease.end));
  const OperationIndex operation = oracle_.erase(*device, offset, length);
  auto task = store_.erase(device->id, offset, length);
  const Result<> result = co_await task;
  if (broken(result)) co_return;
  if (answered(result, oracle_.operations().at(operation).what, false)) {
    oracle_.completed(operation);
  } else if (report_.ok()) {
    const uint64_t blocks = std::min<uint64_t>(lease.end, options_.device_blocks + 100);
    auto back = read_back(operation, device, lease.begin, blocks - std::min(blocks, lease.begin));
    co_await back;
  }
  leases_.erase(held);
}

Task<void> Workload::do_resize() {
  const DeviceRef device = choose_device();
  const Lease lease{device.get(), 0, 0, Lease::whole_device};
  if (!device || device->read_only.current() || !available(lease)) co_return;
  const Held held = hold(lease);
  uint64_t size = below(options_.device_blocks * block_size + 1);
  if (chance(40)) size = round_down(size, block_size);
  if (options_.far_places && chance(20)) size = (uint64_t{1} << (30 + below(20))) + below(9);
  if (chance(5)) size = device->bytes();
  const bool grows = size > device->bytes();
  device->alone.clear();
  const OperationIndex operation = oracle_.resize(*device, size);
  auto task = store_.resize(device->id, size);
  const Result<> result = co_await task;
  if (ended(result, operation, grows)) leases_.erase(held);
}

Task<void> Workload::do_empty() {
  const DeviceRef device = choose_device();
  const Lease lease{device.get(), 0, 0, Lease::whole_device};
  if (!device || device->read_only.current() || !available(lease)) co_return;
  const Held held = hold(lease);
  device->alone.clear();
  const OperationIndex operation = oracle_.truncate_to_empty(*device);
  auto task = store_.truncate_to_empty(device->id);
  const Result<> result = co_await task;
  if (ended(result, operation, false)) leases_.erase(held);
}

Task<void> Workload::do_reserve() {
  const DeviceRef device = choose_device();
  const Lease lease{device.get(), 0, 0, Lease::whole_device};
  if (!device || device->read_only.current() || !available(lease)) co_return;
  const Held held = hold(lease);
  const uint64_t offset = below(options_.device_blocks * block_size);
  const uint64_t length = 1 + below(20 * block_size);
  const bool keep = chance(50);
  const OperationIndex operation = oracle_.reserve(*device, keep ? 0 : offset + length);
  auto task = store_.reserve(device->id, offset, length, keep);
  const Result<> result = co_await task;
  if (ended(result, operation)) leases_.erase(held);
}

// What the map says must agree with what was written, to the block.
Task<void> Workload::do_map() {
  const DeviceRef device = choose_device();
  const Lease lease{device.get(), 0, UINT64_MAX, Lease::shared};
  if (!device || !available(lease)) co_return;
  const Held held = hold(lease);
  auto task = store_.map(device->id, DeviceBlock{0}, size_t{1} << 20);
  const Result<std::vector<MappedRange>> ranges = co_await task;
  if (answered(ranges, "map")) {
    std::set<uint64_t> data;
    for (const MappedRange& range : *ranges) {
      if (range.state == RangeState::lost && !options_.may_lose)
        report_.violation("a range is lost without damage");
      if (range.state != RangeState::data && range.state != RangeState::lost) continue;
      for (uint64_t b = range.range.begin.value; b < range.range.end.value; ++b) data.insert(b);
    }
    for (const auto& [block, cell] : device->blocks)
      if (!cell.current().zero() && !data.contains(block))
        report_.violation(
            text("the map shows no data in block ", block, " of device ", device->tag));
    // What lies behind an end in the middle of a block is only zeroed when the device grows (C3).
    const uint64_t partial =
        device->bytes() % block_size ? device->bytes() / block_size : UINT64_MAX;
    for (uint64_t block : data)
      if (block != partial && device->block(block).zero())
        report_.violation(text("the map shows data in block ", block, " of device ", device->tag,
                               ", which is zero"));
  }
  leases_.erase(held);
}

Task<void> Workload::do_flush() {
  const DeviceRef device = choose_device();
  const Lease lease{device.get(), 0, 0, Lease::shared};
  if (!device || !available(lease)) co_return;
  const Held held = hold(lease);
  const std::vector<OperationIndex> covered = oracle_.covered(device.get());
  auto task = store_.flush(device->id);
  const Result<> result = co_await task;
  if (answered(result, "flush", false)) {
    if (Operations::trace)
      std::printf("       flushed: device %llu\n", static_cast<unsigned long long>(device->tag));
    oracle_.durable(covered);
  }
  leases_.erase(held);
}

Task<void> Workload::do_everything(Action action) {
  const std::vector<OperationIndex> covered = oracle_.covered(nullptr);
  if (action == Action::sync) {
    auto task = store_.sync();
    const Result<> result = co_await task;
    if (answered(result, "sync", false)) oracle_.durable(covered);
  } else if (chance(30)) {
    auto task = store_.count_shares();
    const Result<> result = co_await task;
    // It may be given up while space is short.
    if (!result && result.error().code != Code::busy && result.error().code != Code::unsupported)
      answered(result, "a count of what is shared", false);
  } else {
    auto task = store_.checkpoint();
    const Result<> result = co_await task;
    answered(result, "checkpoint", false);
  }
}

Task<void> Workload::do_members() {
  auto task = store_.change_members(random_());
  const Result<> result = co_await task;
  answered(result, "a change of members", false);
}

// Asked for, and perhaps thought better of; it goes on beside everything else. Or a device is
// pinned, which moves what it has as well.
Task<void> Workload::do_defrag() {
  const DeviceRef device = chance(50) ? choose_device() : nullptr;
  if (device && chance(50)) {
    constexpr std::array<const char*, 4> blobs{"", "fast0", "lower1", "lower2"};
    auto task = store_.pin(device->id, blobs[below(blobs.size())]);
    co_await task;  // there may be no such blob, nor such a device any more
    co_return;
  }
  store_.defrag(device ? device->id : DeviceId::none, chance(10));
  co_await Yield{};
}

// It finds nothing where nothing was damaged, whatever moves and dies meanwhile.
Task<void> Workload::do_scrub() {
  if (!options_.may_break && store_.status().scrub.bad_bytes > 0)
    report_.violation("a scrub found damage that nobody has done");
  store_.scrub(chance(10));
  const std::string found = store_.check(++checks_ % 2 == 0);
  if (!options_.damaged && !found.empty())
    report_.violation("a check found damage that nobody has done: " + found);
  co_await Yield{};
}

// What was written before goes down a tier, beside everything else.
Task<void> Workload::do_age() {
  store_.age();
  co_await Yield{};
}

Task<void> Workload::do_grow() {
  auto task = store_.grow();
  const Result<> result = co_await task;
  answered(result, "grow", false);
}

Task<void> Workload::start_afresh(uint64_t blocks) {
  std::vector<DeviceRef> devices;
  for (const auto& [tag, device] : oracle_.devices())
    if (!device->name.empty() || device->opens > 0) devices.push_back(device);
  for (const DeviceRef& device : devices) {
    for (; device->opens > 0; --device->opens) {
      auto closing = store_.close_device(device->id);
      const Result<> closed = co_await closing;
      answered(closed, "close of a device", false);
    }
    if (device->name.empty()) continue;
    const std::string name = device->name;
    const OperationIndex operation = oracle_.remove(name);
    auto removing = store_.remove(name);
    const Result<> removed = co_await removing;
    ended(removed, operation, false);
  }
  const uint64_t piece = std::min<uint64_t>(blocks, 64);
  const Oracle::Created created = oracle_.create("afresh", 0, {0600, 0, 0});
  auto creating = store_.create("afresh", 0, Attributes{});
  const Result<DeviceInfo> made = co_await creating;
  if (!answered(made, "create in an empty pool", false)) co_return;
  oracle_.bind(*created.device, made->id, report_);
  oracle_.completed(created.operation);
  Buffer buffer(piece * block_size);
  const std::vector<bool> zero(piece);
  for (uint64_t at = 0; at < blocks && report_.ok(); at += piece) {
    const uint64_t version = oracle_.next_version(), offset = at * block_size;
    Oracle::pattern(*created.device, offset, version, zero, buffer.span());
    const OperationIndex operation =
        oracle_.write(*created.device, offset, version, zero, buffer.span());
    auto writing = store_.write(created.device->id, offset, buffer.span());
    const Result<> written = co_await writing;
    ended(written, operation, false);
  }
}

// The tail becomes durable by itself: after flush_after, and as long as the disk takes, which in
// virtual time may be long.
Task<void> Workload::do_wait() {
  constexpr int patience = 100;
  const std::vector<OperationIndex> covered = oracle_.covered(nullptr);
  const Sleep sleep{options_.flush_after_ns + options_.flush_after_ns / 2 + 1000};
  co_await sleep;
  if (options_.flush_after_ns == 0) co_return;
  PoolStatus status = store_.status();
  for (int i = 0; i < patience && !status.read_only && status.tail_bytes > 0; ++i) {
    co_await sleep;
    status = store_.status();
  }
  if (status.read_only && !options_.may_break)
    report_.violation("the pool is read-only: " + status.health);
  if (status.read_only) co_return;
  if (status.tail_bytes > 0)
    report_.violation("the tail never became durable by itself");
  else
    oracle_.durable(covered);
}

}  // namespace lamina::sim
