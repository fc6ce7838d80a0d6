// SPDX-License-Identifier: Apache-2.0
#include "tools/grow_blob.h"

#include "blobs/journal_blob.h"
#include "tools/open_pool.h"

namespace lamina {

Task<Result<std::vector<GrownBlob>>> grow_blobs(PoolConfig config, std::string name) {
  Task<Result<OpenedBlobs>> opening = open_blobs(config, false);
  auto opened = co_await opening;
  if (!opened) co_return forward_error(opened);
  std::vector<GrownBlob> all;
  bool known = name.empty();
  for (const auto& blob : opened->blobs) {
    const Superblock& old = blob->superblock();
    if (!name.empty() && old.blob_name != name) continue;
    known = true;
    auto larger = blob->larger();
    if (!larger) co_return forward_error(larger);
    if (!*larger) continue;
    Task<Result<>> growing = blob->grow_to(std::move(**larger), blob->alone());
    LAMINA_CO_TRY(co_await growing);
    const Superblock& now = blob->superblock();
    all.push_back({now.blob_name, blob->disk().name(), old.size, now.size, old.segment_count,
                   now.segment_count});
  }
  if (!known)
    co_return fail(Code::not_found,
                   "the pool \"" + opened->pool_name + "\" has no blob \"" + name + "\"");
  co_return all;
}

}  // namespace lamina
