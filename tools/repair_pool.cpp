// SPDX-License-Identifier: Apache-2.0
#include "tools/repair_pool.h"

#include <algorithm>
#include <map>
#include <utility>

#include "engine/missing_disk.h"
#include "engine/pool.h"
#include "engine/slots.h"
#include "tools/find_superblock.h"
#include "tools/make_pool.h"
#include "tools/open_pool.h"

namespace lamina {
namespace {

struct Disks {
  Blobs blobs;
  std::vector<std::string> missing;  // what stands in for them is behind the others
  std::vector<size_t> damaged;  // whose superblocks are to be written again
};

// A disk on which nothing of the pool is left is no reason to give the others up, if a slot on them
// names it. One that is not there at all may come back, and what lies on it then.
Task<Result<>> stand_in(Disks& disks, std::map<std::string, std::string> absent) {
  if (absent.empty()) co_return Result<>{};
  std::vector<SlotMember> members;
  if (!disks.blobs.empty()) {
    const Secret secret = disks.blobs.front()->superblock().secret;
    Task<Result<std::vector<Slot>>> finding = find_slots(disks.blobs, secret);
    const auto slots = co_await finding;
    if (slots) members = slots->front().members;
  }
  uint32_t segment_blocks = 0;
  for (const auto& blob : disks.blobs)
    segment_blocks = std::max(segment_blocks, blob->segment_blocks());
  const Blobs there = disks.blobs;
  for (const auto& [name, why] : absent) {
    const auto member = std::ranges::find_if(members, [&](const SlotMember& one) {
      return one.name == name.substr(0, slot_name_bytes) &&
             std::ranges::none_of(there, [&](const auto& blob) { return blob->id() == one.blob; });
    });
    if (member == members.end()) co_return fail(Code::not_found, why + "; nothing was changed");
    disks.blobs.push_back(missing_blob(*member, *there.front(), segment_blocks));
    disks.missing.push_back(name);
  }
  co_return Result<>{};
}

Task<Result<Disks>> open_disks(PoolConfig config) {
  Disks disks;
  std::map<std::string, std::string> absent;  // why, by name
  for (const BlobConfig& blob : config.blobs) {
    FileDiskOptions options;
    options.offset = blob.offset;
    options.length = blob.size;
    auto opened = open_file_disk(blob.path, options);
    if (!opened) {
      const std::string place = blob.where.empty() ? "" : blob.where + ": ";
      co_return fail(opened.error().code,
                     place + opened.error().message +
                         "; what is on the other disks is served with `lamina mount -o force`, and "
                         "nothing was changed");
    }
    const std::shared_ptr<Disk> disk = std::move(*opened);
    Task<Result<Blob::Found>> finding = Blob::find(*disk);
    auto found = co_await finding;
    if (found && found->damaged > 0) disks.damaged.push_back(disks.blobs.size());
    if (found) {
      LAMINA_CO_TRY(check_identity(blob, found->superblock, config));
      disks.blobs.push_back(std::make_shared<Blob>(disk, found->superblock));
      continue;
    }
    if (found.error().code != Code::corrupt && found.error().code != Code::not_found)
      co_return fail(found.error().code, blob.place() + ": " + found.error().message);
    auto uuid = new_uuid();
    if (!uuid) co_return forward_error(uuid);
    Superblock like;
    like.pool_name = config.from_yaml ? config.name : pool_name_from(config.file);
    like.blob_name = config.from_yaml ? blob.name : single_blob_name;
    like.blob_uuid = *uuid;
    like.kind = blob_kind(blob.kind);
    like.tier = blob.tier;
    like.created_ns = Executor::current().wall_ns();
    Task<Result<Superblock>> looking = superblock_from_segments(disk, std::move(like));
    auto superblock = co_await looking;
    if (!superblock && superblock.error().code == Code::not_found) {
      absent[blob.name] = blob.place() + ": " + superblock.error().message;
      continue;
    }
    if (!superblock)
      co_return fail(superblock.error().code,
                     blob.place() + ": " + superblock.error().message + "; nothing was changed");
    disks.damaged.push_back(disks.blobs.size());
    disks.blobs.push_back(std::make_shared<Blob>(disk, *superblock));
  }
  for (const auto& blob : disks.blobs)
    if (blob->superblock().pool != disks.blobs.front()->superblock().pool)
      co_return fail(Code::invalid, blob->disk().name() + ": it is a member of another pool than " +
                                        disks.blobs.front()->disk().name());
  Task<Result<>> standing_in = stand_in(disks, absent);
  LAMINA_CO_TRY(co_await standing_in);
  co_return disks;
}

Task<Result<uint64_t>> heal(Blobs blobs, Settings settings) {
  Task<Result<std::unique_ptr<Pool>>> opening = Pool::open(std::move(blobs), std::move(settings));
  auto pool = co_await opening;
  if (!pool) co_return forward_error(pool);
  Task<Result<uint64_t>> healing = (*pool)->heal_metadata();
  auto healed = co_await healing;
  Task<Result<>> closing = (*pool)->close();
  const Result<> closed = co_await closing;
  if (healed && !closed) co_return fail(closed.error().code, closed.error().message);
  co_return healed;
}

}  // namespace

Task<Result<RepairedPool>> repair_pool(PoolConfig config, RepairOptions options) {
  RepairedPool out;
  CheckOptions checking;
  checking.progress = options.progress;
  Task<Result<CheckReport>> looking = check_pool(config, checking);
  auto before = co_await looking;
  if (before) out.before = *before;
  // What is no damage is no matter of repairs.
  if (!before && before.error().code != Code::corrupt && before.error().code != Code::not_found)
    co_return forward_error(before);
  {
    Task<Result<Disks>> opening = open_disks(config);
    auto disks = co_await opening;
    if (!disks) co_return forward_error(disks);
    out.pool = disks->blobs.front()->superblock().pool_name;
    out.missing = disks->missing;
    out.rebuilt = options.rebuild || !before ||
                  std::ranges::any_of(before->findings, [&](const Finding& finding) {
                    return finding.rebuild || (options.accept_suspect && finding.rule == "B2");
                  });
    if (out.rebuilt) {
      options.progress("rebuilding", 0, 1);
      Task<Result<RepairReport>> repairing =
          repair(disks->blobs, engine_settings(config), options.accept_suspect);
      auto repaired = co_await repairing;
      if (!repaired) co_return forward_error(repaired);
      out.rebuild = *repaired;
    } else if (before->damaged() && out.missing.empty()) {
      options.progress("healing", 0, 1);
      Task<Result<uint64_t>> healing = heal(disks->blobs, engine_settings(config));
      const auto healed = co_await healing;
      if (!healed) co_return fail(healed.error().code, healed.error().message);
      out.healed = *healed;
    }
    for (const size_t i : disks->damaged) {
      Blob& blob = *disks->blobs[i];
      Task<Result<>> writing = blob.write_superblocks(blob.alone());
      LAMINA_CO_TRY(co_await writing);
      out.superblocks.push_back(blob.disk().name());
    }
  }
  checking.data = options.data;
  Task<Result<CheckReport>> again = check_pool(config, checking);
  auto after = co_await again;
  if (!after) co_return forward_error(after);
  out.after = *after;
  co_return out;
}

}  // namespace lamina
