// SPDX-License-Identifier: Apache-2.0
// Reads from sysfs what the kernel says of the device that a block device is or a file lies on.
// Thread-safety: a pure function of the system. Errors: what cannot be known keeps its default.
#pragma once

#include <sys/stat.h>

#include "blobs/disk.h"

namespace lamina {

DiskTraits probe_disk_traits(const struct stat& about);

}  // namespace lamina
