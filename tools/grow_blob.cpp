// SPDX-License-Identifier: Apache-2.0
#include "tools/grow_blob.h"

#include "tools/open_pool.h"

namespace lamina {

Task<Result<std::vector<GrownBlob>>> grow_pool(PoolConfig config, std::string name) {
  Task<Result<OpenedBlobs>> opening = open_blobs(config, false);
  auto opened = co_await opening;
  if (!opened) co_return forward_error(opened);
  Task<Result<std::vector<GrownBlob>>> growing = grow_blobs(
      opened->blobs, std::move(name),
      [](Blob& blob, Superblock larger) { return blob.grow_to(std::move(larger), blob.alone()); });
  co_return co_await growing;
}

}  // namespace lamina
