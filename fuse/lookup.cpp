// SPDX-License-Identifier: Apache-2.0
// LOOKUP. That a name is not there is never cached: names also come by way of the control
// attributes.
#include "fuse/file_system.h"

namespace lamina {

fuse_entry_out FileSystem::entry_of(const DeviceInfo& info) const {
  fuse_entry_out entry{};
  entry.nodeid = raw(device_inode(info.id));
  entry.entry_valid = entry_timeout_s;
  entry.attr_valid = attributes_timeout_s;
  entry.attr = attributes_of(info);
  return entry;
}

void FileSystem::lookup(Request& request) {
  size_t offset = 0;
  bool ok = true;
  const std::string_view name = request.text(offset, ok);
  if (!ok) return request.fail(EINVAL);
  if (name.size() > max_name_bytes) return request.fail(ENAMETOOLONG);
  if (is_virtual(request.inode()) || name == ".lamina") return lookup_virtual(request, name);
  const Result<DeviceInfo> found = pool_.find(name);
  // A name that no device may have is just not there; creating it says why.
  if (!found)
    return request.fail(found.error().code == Code::invalid ? ENOENT
                                                            : errno_of(found.error().code));
  request.answer(entry_of(*found));
}

}  // namespace lamina
