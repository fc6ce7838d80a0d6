// SPDX-License-Identifier: Apache-2.0
#include "tools/open_pool.h"

#include <algorithm>
#include <optional>

#include "blobs/describe.h"
#include "blobs/image_file.h"

namespace lamina {
namespace {

// What one entry of the config turned out to be.
struct Member {
  const BlobConfig* wanted = nullptr;
  std::shared_ptr<Disk> disk;
  Superblock superblock;
};

Error explain(const BlobConfig& blob, const Error& error) {
  const std::string of_several =
      blob.where.empty() ? ""
                         : ", `lamina blob add` takes it into one that is mounted without it; if "
                           "it was removed, take its line out";
  std::string message = blob.place() + ": ";
  switch (error.code) {
    case Code::not_found:
      return {error.code,
              message +
                  "it holds no lamina pool; `lamina format` makes one, and if one was here, "
                  "`lamina repair` looks for what is left of it" +
                  of_several};
    case Code::corrupt:
      return {error.code, message + error.message + "; nothing was changed"};
    case Code::unsupported:
      return {error.code,
              message + error.message + "; use the lamina that made it, or a newer one"};
    default:
      return {error.code, message + error.message};
  }
}

Result<> check_same_pool(const std::vector<Member>& members) {
  const Member& first = members.front();
  for (const Member& member : members)
    if (member.superblock.pool != first.superblock.pool)
      return fail(Code::invalid, member.wanted->place() +
                                     ": it is a member of another pool of the same name (" +
                                     to_text(member.superblock.pool) + "; " + first.wanted->path +
                                     " is of " + to_text(first.superblock.pool) + ")");
  for (const Member& member : members)
    for (const Member& other : members)
      if (&other != &member && other.superblock.blob == member.superblock.blob)
        return fail(Code::invalid, member.wanted->place() + ": it and " + other.wanted->path +
                                       " are the same blob; one is a copy of the other");
  return {};
}

// Nothing of the pool is there; not: somebody else has it, or it may not be touched.
bool is_absent(const Error& error) {
  return error.code == Code::not_found || error.code == Code::io;
}

Task<Result<Member>> open_member(const BlobConfig& blob, bool read_only, OpenDisk open_disk,
                                 std::vector<std::string>& warnings) {
  Member member;
  member.wanted = &blob;
  FileDiskOptions options;
  options.read_only = read_only;
  options.offset = blob.offset;
  options.length = blob.size;
  auto disk = open_disk(blob.path, options);
  if (!disk) {
    // Its message has the path already; the place in the pool file is added.
    const std::string place = blob.where.empty() ? "" : blob.where + ": ";
    co_return fail(disk.error().code, place + disk.error().message);
  }
  member.disk = std::move(*disk);
  Task<Result<Blob::Found>> finding = Blob::find(*member.disk);
  auto found = co_await finding;
  if (!found) {
    const Error error = explain(blob, found.error());
    co_return fail(error.code, error.message);
  }
  member.superblock = found->superblock;
  if (found->damaged > 0)
    warnings.push_back(blob.path + ": " + std::to_string(found->damaged) + " of " +
                       std::to_string(superblock_copies) +
                       " superblock copies are damaged; a good one serves");
  if (!read_only && needs_read_only(member.superblock))
    co_return fail(Code::unsupported, blob.place() +
                                          ": it has features of a newer lamina that "
                                          "this one cannot write; mount it with -o ro");
  co_return member;
}

}  // namespace

Result<> check_identity(const BlobConfig& wanted, const Superblock& found,
                        const PoolConfig& config) {
  if (!config.from_yaml) return {};
  if (found.pool_name != config.name)
    return fail(Code::invalid, wanted.place() + ": it belongs to the pool \"" + found.pool_name +
                                   "\", not to \"" + config.name + "\"");
  if (found.blob_name == wanted.name && found.kind != blob_kind(wanted.kind))
    return fail(Code::invalid, wanted.place() + ": the blob is of kind " + name_of(found.kind) +
                                   ", the pool file says " + kind_name(wanted.kind) +
                                   "; what a blob is was decided when it was made");
  if (found.blob_name != wanted.name) {
    const auto other =
        std::find_if(config.blobs.begin(), config.blobs.end(),
                     [&](const BlobConfig& blob) { return blob.name == found.blob_name; });
    return fail(Code::invalid, wanted.place() + ": the blob \"" + found.blob_name + "\" is here" +
                                   (other == config.blobs.end()
                                        ? std::string(", which the pool file does not name")
                                        : ", which the pool file expects at " + other->path +
                                              "; correct the two paths"));
  }
  return {};
}

BlobKind blob_kind(BlobConfig::Kind kind) {
  switch (kind) {
    case BlobConfig::Kind::journal:
      return BlobKind::journal;
    case BlobConfig::Kind::transparent:
      return BlobKind::transparent;
    case BlobConfig::Kind::compression:
      return BlobKind::compression;
  }
  return BlobKind::journal;
}

Task<Result<OpenedBlobs>> open_blobs(PoolConfig config, bool read_only, OpenDisk open_disk,
                                     bool all) {
  OpenedBlobs opened;
  std::vector<Member> members;
  std::optional<Error> first_absent;
  for (const BlobConfig& blob : config.blobs) {
    Task<Result<Member>> opening = open_member(blob, read_only, open_disk, opened.warnings);
    auto member = co_await opening;
    if (!member && !all && is_absent(member.error())) {
      opened.absent[blob.name] = member.error().message;
      first_absent = first_absent.value_or(member.error());
      continue;
    }
    if (!member) co_return forward_error(member);
    LAMINA_CO_TRY(check_identity(blob, member->superblock, config));
    members.push_back(std::move(*member));
  }
  if (members.empty()) co_return std::unexpected(*first_absent);
  LAMINA_CO_TRY(check_same_pool(members));
  std::sort(members.begin(), members.end(), [](const Member& a, const Member& b) {
    return raw(a.superblock.blob) < raw(b.superblock.blob);
  });
  opened.pool_name = members.front().superblock.pool_name;
  opened.pool = members.front().superblock.pool;
  for (Member& member : members)
    opened.blobs.push_back(
        std::make_shared<Blob>(std::move(member.disk), std::move(member.superblock)));
  co_return opened;
}

Settings engine_settings(const PoolConfig& config) {
  Settings settings;
  settings.nodes_bytes = config.memory.nodes;
  settings.layers_bytes = config.memory.layers;
  settings.tail_bytes = config.memory.tail;
  settings.sums_bytes = config.memory.sums;
  settings.flush_after_ns = config.flush_after_ns;
  settings.reserve_percent = config.reserve_percent;
  settings.verify_reads = config.verify == PoolConfig::Verify::reads;
  for (const auto& [blob, aging] : config.aging)
    settings.aging[blob] = {aging.keep_free_percent, aging.idle_ns};
  for (const BlobConfig& blob : config.blobs) settings.levels[blob.name] = blob.level;
  settings.frames_bytes = config.memory.frames;
  settings.promote = config.promote;
  settings.preallocate = config.preallocate == PoolConfig::Preallocate::check
                             ? Settings::Preallocate::check
                             : Settings::Preallocate::reserve;
  settings.open_image = [origins = config.origins](const std::string& path) {
    return open_image_file(path, origins);
  };
  return settings;
}

}  // namespace lamina
