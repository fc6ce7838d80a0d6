// SPDX-License-Identifier: Apache-2.0
// STATFS: the pool's space. f_bsize is what a loop device takes as its discard granularity, so it
// is the block.
#include "fuse/file_system.h"

namespace lamina {

void FileSystem::statfs(Request& request) {
  const PoolStatus status = pool_.status();
  fuse_statfs_out out{};
  out.st.bsize = out.st.frsize = block_size;
  out.st.blocks = status.size / block_size;
  out.st.bfree = out.st.bavail = status.free / block_size;
  out.st.files = max_devices;
  out.st.ffree = max_devices - std::min<uint64_t>(max_devices, status.devices);
  out.st.namelen = max_name_bytes;
  request.answer(out);
}

}  // namespace lamina
