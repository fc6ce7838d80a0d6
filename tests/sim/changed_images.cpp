// SPDX-License-Identifier: Apache-2.0
#include "changed_images.h"

#include <algorithm>
#include <map>
#include <set>

#include "text.h"

namespace lamina::sim {
namespace {

constexpr size_t ranges_at_once = 4096;

using Blocks = std::map<DeviceId, std::set<uint64_t>>;

Task<Result<std::set<uint64_t>>> blocks_in(Pool& pool, DeviceId device, std::string image) {
  std::set<uint64_t> blocks;
  for (DeviceBlock at{0};;) {
    auto task = pool.map(device, at, ranges_at_once);
    const Result<std::vector<MappedRange>> ranges = co_await task;
    if (!ranges) co_return std::unexpected(ranges.error());
    for (const MappedRange& range : *ranges)
      for (uint64_t i = 0; range.origin == image && i < range.range.length().value; ++i)
        blocks.insert(range.range.begin.value + i);
    if (ranges->size() < ranges_at_once) co_return blocks;
    at = ranges->back().range.end;
  }
}

// Those of `in_image` must be EIO, all others what they were found to be.
Task<void> check_blocks(Pool& pool, const Oracle::Found& found, const std::set<uint64_t>& in_image,
                        Report& report) {
  Buffer buffer(block_size);
  for (const auto& [block, bytes] : found.blocks) {
    auto task = pool.read(found.info.id, block * block_size, buffer.span());
    const Result<size_t> got = co_await task;
    const bool wanted = !in_image.contains(block);
    if (got && !begins_with(buffer.span(), bytes))
      report.violation(text("block ", block, " of ", found.info.name, " shows ",
                            describe_block(buffer.span()), " after an image has changed (C7)"));
    else if (got.has_value() != wanted)
      report.violation(text("block ", block, " of ", found.info.name,
                            wanted ? " cannot be read" : " is read from an image",
                            " that has changed (C7)"));
    if (!report.ok()) co_return;
  }
}

Task<void> check_listed(Pool& pool, const Blocks& in_image, Report& report) {
  auto task = pool.lost_now();
  const Result<std::vector<LostRange>> lost = co_await task;
  if (!lost) co_return report.violation("what is lost cannot be listed");
  Blocks listed;
  for (const LostRange& range : *lost)
    for (uint64_t b = range.range.begin.value; b < range.range.end.value; ++b)
      listed[range.device].insert(b);
  for (const auto& [device, blocks] : in_image)
    if (listed[device] != blocks)
      report.violation(text("of device ", raw(device), " ", listed[device].size(),
                            " blocks are listed as lost, and ", blocks.size(),
                            " lie in an image that has changed (C7)"));
}

Task<void> check(PoolMachine& machine, const std::vector<Oracle::Found>& all, OutsideImage which,
                 Report& report) {
  Pool& pool = machine.pool();
  Blocks in_image;
  for (const Oracle::Found& found : all) {
    auto task = blocks_in(pool, found.info.id, which.path);
    auto blocks = co_await task;
    if (!blocks) co_return report.violation("a map cannot be read: " + blocks.error().message);
    if (!blocks->empty()) in_image[found.info.id] = std::move(*blocks);
  }
  if (in_image.empty()) co_return;
  SimImage& image = machine.images().at(which.path);
  const std::vector<std::byte> bytes = image.bytes;
  for (size_t i = 0; i < image.bytes.size(); i += 512) image.bytes[i] ^= std::byte{1};
  ++image.mtime_ns;
  static const std::set<uint64_t> none;
  for (const Oracle::Found& found : all) {
    const auto blocks = in_image.find(found.info.id);
    auto task = check_blocks(pool, found, blocks == in_image.end() ? none : blocks->second, report);
    co_await task;
    if (!report.ok()) co_return;
  }
  auto listing = check_listed(pool, in_image, report);
  co_await listing;
  image.bytes = bytes;
  --image.mtime_ns;
  for (const auto& [device, blocks] : in_image) {
    auto accepting = pool.accept_origin(device, "");
    const Result<> accepted = co_await accepting;
    // One acceptance is for all who refer to it.
    if (!accepted && accepted.error().code != Code::invalid)
      report.violation("an image is not accepted: " + accepted.error().message);
  }
  for (const Oracle::Found& found : all) {
    if (!report.ok()) co_return;
    if (!in_image.contains(found.info.id)) continue;
    auto task = check_blocks(pool, found, none, report);
    co_await task;
  }
}

}  // namespace

bool check_changed_image(PoolMachine& machine, const std::vector<Oracle::Found>& found,
                         Report& report) {
  const std::vector<OutsideImage> images = machine.store().images();
  const OutsideImage& which = images[machine.executor().random()() % images.size()];
  SimImage& image = machine.images().at(which.path);
  const SimImage before = image;
  const bool ended = machine.drive(check(machine, found, which, report));
  image = before;
  return ended;
}

}  // namespace lamina::sim
