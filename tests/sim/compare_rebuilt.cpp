// SPDX-License-Identifier: Apache-2.0
#include "compare_rebuilt.h"

#include <algorithm>

#include "engine/rebuild.h"
#include "medium_snapshot.h"
#include "text.h"

namespace lamina::sim {
namespace {

Task<void> compare_blocks(Rebuilt& rebuilt, const RebuiltDevice& device, const Oracle::Found& found,
                          Report& report) {
  Buffer buffer(block_size);
  for (const auto& [block, bytes] : found.blocks) {
    if (found.unreadable.contains(block)) continue;
    auto task = rebuilt.read(device, DeviceBlock{block}, buffer.span());
    const Result<> result = co_await task;
    if (!result) {
      report.violation(text("rebuilt: block ", block, " of ", found.info.name,
                            " cannot be read: ", result.error().message));
      co_return;
    }
    if (begins_with(buffer.span(), bytes)) continue;
    report.violation(text("rebuilt: block ", block, " of ", found.info.name, " holds ",
                          describe_block(buffer.span()), ", the pool shows ",
                          describe_block(bytes)));
    co_return;
  }
}

Task<void> compare(std::vector<Blob*> blobs, CheckpointNumber committed, OpenImage open_image,
                   const std::vector<Oracle::Found>& all, Report& report) {
  auto task = Rebuilt::from(blobs, std::move(open_image));
  Result<Rebuilt> rebuilt = co_await task;
  if (!rebuilt) {
    report.violation("nothing can be rebuilt: " + rebuilt.error().message);
    co_return;
  }
  if (rebuilt->scan().tables.number < committed)
    report.violation(text("rebuilt: the newest tables found are those of checkpoint ",
                          rebuilt->scan().tables.number, ", not of ", committed, " (C5)"));
  size_t named = 0;
  for (const auto& [id, device] : rebuilt->devices()) named += !device.row.name.empty();
  if (named != all.size())
    report.violation(text("rebuilt: ", named, " devices, the pool shows ", all.size()));
  for (const Oracle::Found& found : all) {
    if (!report.ok()) co_return;
    const auto device = rebuilt->devices().find(found.info.id);
    if (device == rebuilt->devices().end()) {
      report.violation("rebuilt: no device " + found.info.name);
      co_return;
    }
    const DeviceRow& row = device->second.row;
    if (row.name != found.info.name || row.size_bytes != found.info.size_bytes ||
        row.read_only != found.info.read_only ||
        Permissions::of(row.attributes) != Permissions::of(found.info.attributes))
      report.violation(text("rebuilt: ", row.name, " of ", row.size_bytes, " bytes mode ",
                            row.attributes.mode, ", the pool shows ", found.info.name, " of ",
                            found.info.size_bytes, " bytes mode ", found.info.attributes.mode));
    auto xattrs = row.xattrs;
    xattrs.erase("user.lamina.tier");  // is not listed
    if (!std::equal(xattrs.begin(), xattrs.end(), found.xattrs.begin(), found.xattrs.end()))
      report.violation("rebuilt: other xattrs of " + row.name);
    auto blocks = compare_blocks(*rebuilt, device->second, found, report);
    co_await blocks;
  }
}

}  // namespace

void compare_rebuilt(const PoolMachine& machine, const std::vector<Oracle::Found>& found,
                     Report& report) {
  SimExecutor executor(1);
  Blobs owned;
  std::vector<Blob*> blobs;
  for (size_t i = 0; i < machine.media().size(); ++i) {
    owned.push_back(std::make_shared<Blob>(std::make_shared<MediumSnapshot>(*machine.media()[i]),
                                           machine.superblocks()[i]));
    blobs.push_back(owned.back().get());
  }
  executor.run_until(compare(blobs, machine.committed(), machine.open_image(), found, report));
}

}  // namespace lamina::sim
