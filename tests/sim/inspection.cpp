// SPDX-License-Identifier: Apache-2.0
#include "inspection.h"

#include <algorithm>

#include "text.h"

namespace lamina::sim {
namespace {

constexpr uint64_t read_whole_up_to = 1024;  // blocks
constexpr uint64_t run_limit = 64;           // blocks of one read

// The blocks to read of a device of `size` bytes, in order.
std::vector<uint64_t> blocks_to_read(uint64_t size, std::vector<uint64_t> interesting) {
  const uint64_t count = div_up(size, block_size);
  std::vector<uint64_t> out;
  if (count <= read_whole_up_to) {
    for (uint64_t block = 0; block < count; ++block) out.push_back(block);
    return out;
  }
  for (uint64_t block : interesting)
    for (uint64_t near : {block == 0 ? 0 : block - 1, block, block + 1})
      if (near < count) out.push_back(near);
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

Task<void> read_run(Store& store, Oracle::Found& found, uint64_t first, uint64_t count,
                    const std::vector<uint64_t>& damaged, Report& report) {
  Buffer buffer(count * block_size);
  auto task = store.read(found.info.id, first * block_size, buffer.span());
  const Result<size_t> got = co_await task;
  if (!got && count > 1 && !damaged.empty()) {  // find the blocks that are to blame
    for (uint64_t i = 0; i < count; ++i) {
      auto one = read_run(store, found, first + i, 1, damaged, report);
      co_await one;
    }
    co_return;
  }
  if (!got && std::find(damaged.begin(), damaged.end(), first) != damaged.end()) {
    found.unreadable[first] = true;
    found.blocks[first] = {};
    co_return;
  }
  if (!got) {
    report.violation(text("block ", first, " and ", count - 1, " more of ", found.info.name,
                          " cannot be read: code ", static_cast<int>(got.error().code), " ",
                          got.error().message));
    co_return;
  }
  const uint64_t expected =
      std::min<uint64_t>(count * block_size, found.info.size_bytes - first * block_size);
  if (*got != expected) {
    report.violation(text("a read at block ", first, " of ", found.info.name, " returned ", *got,
                          " bytes instead of ", expected));
    co_return;
  }
  for (uint64_t i = 0; i * block_size < expected; ++i) {
    const auto from = buffer.data() + i * block_size;
    found.blocks[first + i].assign(
        from, from + std::min<uint64_t>(block_size, expected - i * block_size));
  }
}

}  // namespace

Task<void> gather(Store& store, const Oracle& oracle,
                  const std::map<DeviceId, std::vector<uint64_t>>& damaged,
                  std::vector<Oracle::Found>& out, Report& report) {
  const std::vector<uint64_t> undamaged;
  const std::vector<DeviceInfo> devices = store.list();
  for (const DeviceInfo& info : devices) {
    if (info.name.empty()) report.violation("a nameless device outlived the crash");
    Oracle::Found found;
    found.info = info;
    for (const std::string& name : store.list_xattrs(info.id)) {
      const Result<std::string> value = store.get_xattr(info.id, name);
      if (value)
        found.xattrs[name] = *value;
      else
        report.violation("a listed xattr cannot be read: " + name);
    }
    const auto bad = damaged.find(info.id);
    const std::vector<uint64_t>& may_fail = bad == damaged.end() ? undamaged : bad->second;
    const std::vector<uint64_t> blocks =
        blocks_to_read(info.size_bytes, oracle.interesting_blocks(info.id, info.name));
    for (size_t i = 0; i < blocks.size() && report.ok();) {
      size_t run = 1;
      while (i + run < blocks.size() && run < run_limit && blocks[i + run] == blocks[i] + run)
        ++run;
      auto task = read_run(store, found, blocks[i], run, may_fail, report);
      co_await task;
      i += run;
    }
    out.push_back(std::move(found));
  }
}

}  // namespace lamina::sim
