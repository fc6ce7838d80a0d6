// SPDX-License-Identifier: Apache-2.0
#include "tools/make_pool.h"

#include <sys/random.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <span>

#include "base/buffer.h"
#include "base/executor.h"
#include "blobs/blob.h"
#include "blobs/file_disk.h"
#include "tools/open_pool.h"
#include "tools/signature.h"

namespace lamina {
namespace {

Result<> fill_randomly(std::span<std::byte> bytes) {
  if (getrandom(bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size())) return {};
  return fail(Code::io, std::string("the kernel gives no random numbers: ") + std::strerror(errno));
}

Result<Superblock> superblock_for(const BlobConfig& blob, size_t index, const Target& target,
                                  const Superblock& pool) {
  Superblock superblock = pool;
  superblock.blob = static_cast<BlobId>(index);
  auto uuid = new_uuid();
  if (!uuid) return forward_error(uuid);
  superblock.blob_uuid = *uuid;
  superblock.blob_name = blob.name;
  superblock.kind = blob_kind(blob.kind);
  superblock.tier = blob.tier;
  target.geometry.write_to(superblock);
  return superblock;
}

// What all blobs of the new pool say alike.
Result<Superblock> new_identity(const std::string& name, uint64_t now_ns) {
  Superblock identity;
  auto uuid = new_uuid();
  if (!uuid) return forward_error(uuid);
  identity.pool = *uuid;
  LAMINA_TRY(fill_randomly(identity.secret));
  identity.pool_name = name;
  identity.created_ns = now_ns;
  return identity;
}

}  // namespace

Result<Uuid> new_uuid() {
  Uuid uuid;
  LAMINA_TRY(fill_randomly(uuid));
  uuid[6] = (uuid[6] & std::byte{0x0f}) | std::byte{0x40};
  uuid[8] = (uuid[8] & std::byte{0x3f}) | std::byte{0x80};
  return uuid;
}

Result<Target> look_at(const BlobConfig& blob, const PoolConfig& config, bool force) {
  FileDiskOptions options;
  options.offset = blob.offset;
  options.length = blob.size;
  auto disk = open_file_disk(blob.path, options);
  if (!disk)
    return fail(disk.error().code,
                (blob.where.empty() ? "" : blob.where + ": ") + disk.error().message);
  Target target;
  target.disk = std::move(*disk);
  if (!force) {
    auto found = find_signature_of(blob.path, blob.offset, blob.size);
    if (!found) return forward_error(found);
    if (*found)
      return fail(Code::exists, blob.place() + " holds " + **found +
                                    "; nothing was changed. --force overwrites it");
  }
  const DiskTraits& traits = target.disk->traits();
  const uint64_t erase = config.erase_bytes != 0 ? config.erase_bytes : traits.discard_granularity;
  auto geometry = Blob::plan(target.disk->size(), config.segment_bytes, erase);
  if (!geometry) return fail(geometry.error().code, blob.place() + ": " + geometry.error().message);
  target.geometry = *geometry;
  target.erase_bytes = erase;
  return target;
}

Task<Result<MadePool>> make_pool(PoolConfig config, bool force, Attributes root) {
  // Everything is looked at, and locked, before the first byte is written.
  std::vector<Target> targets;
  for (const BlobConfig& blob : config.blobs) {
    auto target = look_at(blob, config, force);
    if (!target) co_return forward_error(target);
    targets.push_back(std::move(*target));
  }
  auto identity = new_identity(config.name, Executor::current().wall_ns());
  if (!identity) co_return forward_error(identity);
  MadePool made;
  made.name = config.name;
  made.uuid = identity->pool;
  Blobs blobs;
  for (size_t i = 0; i < targets.size(); ++i) {
    auto superblock = superblock_for(config.blobs[i], i, targets[i], *identity);
    if (!superblock) co_return forward_error(superblock);
    blobs.push_back(std::make_shared<Blob>(targets[i].disk, *superblock));
    Task<Result<>> wiping = blobs.back()->wipe(blobs.back()->alone());
    LAMINA_CO_TRY(co_await wiping);
    made.blobs.push_back({config.blobs[i].name, kind_name(config.blobs[i].kind),
                          config.blobs[i].path, superblock->size, blobs.back()->segment_bytes(),
                          superblock->segment_count});
  }
  Task<Result<>> formatting = Pool::format(blobs, root);
  LAMINA_CO_TRY(co_await formatting);
  co_return made;
}

}  // namespace lamina
