// SPDX-License-Identifier: Apache-2.0
#include "tools/add_blob.h"

#include <algorithm>

#include "blobs/file_disk.h"
#include "tools/make_pool.h"
#include "tools/open_pool.h"

namespace lamina {
namespace {

// The next mount will read it: it must name the pool as it is, and the new blob.
Result<const BlobConfig*> check_file(const PoolStatus& pool, const PoolConfig& config,
                                     const std::string& name) {
  if (!config.from_yaml)
    return fail(Code::invalid, config.file +
                                   " is no pool file: a pool of several blobs is described "
                                   "by one (YAML), which names them all");
  if (config.name != pool.name)
    return fail(Code::invalid, config.file + " describes the pool \"" + config.name + "\", not \"" +
                                   pool.name + "\"");
  const auto wanted = std::ranges::find(config.blobs, name, &BlobConfig::name);
  if (wanted == config.blobs.end())
    return fail(Code::not_found, config.file + " does not name a blob \"" + name +
                                     "\"; add its line to it first: {name: " + name +
                                     ", kind: ..., path: ...}");
  for (const BlobStatus& member : pool.blobs) {
    if (member.name == name)
      return fail(Code::exists, "the pool has a blob \"" + name + "\" already, on " + member.path);
    if (member.path == wanted->path && wanted->size == 0)
      return fail(Code::exists, wanted->place() + ": the blob \"" + member.name + "\" is on it");
    if (std::ranges::find(config.blobs, member.name, &BlobConfig::name) == config.blobs.end())
      return fail(Code::invalid, config.file + " does not name the blob \"" + member.name +
                                     "\", which is a member of the pool, on " + member.path);
  }
  return &*wanted;
}

}  // namespace

Task<Result<>> add_blob_to(Pool& pool, PoolConfig config, std::string name, bool force) {
  auto checked = check_file(pool.status(), config, name);
  if (!checked) co_return forward_error(checked);
  const BlobConfig& wanted = **checked;
  auto target = look_at(wanted, config, force);
  if (!target) co_return forward_error(target);
  auto uuid = new_uuid();
  if (!uuid) co_return forward_error(uuid);
  NewBlob blob;
  blob.name = name;
  blob.uuid = *uuid;
  blob.kind = blob_kind(wanted.kind);
  blob.tier = wanted.tier;
  blob.segment_bytes = config.segment_bytes;
  blob.erase_bytes = target->erase_bytes;
  blob.level = wanted.level;
  if (const auto aging = config.aging.find(name); aging != config.aging.end())
    blob.aging = {aging->second.keep_free_percent, aging->second.idle_ns};
  Task<Result<>> adding = pool.add_blob(std::move(target->disk), std::move(blob));
  auto added = co_await adding;
  if (!added) co_return fail(added.error().code, wanted.place() + ": " + added.error().message);
  co_return Result<>{};
}

}  // namespace lamina
