// SPDX-License-Identifier: Apache-2.0
// A raw image, a regular file or a block device, opened to be read through.
// Reads go through the page cache: several devices read one image, and its end need not be aligned.
// Where the file system grants one, a read lease is held: who opens the image to write to it waits
// until state() has seen that and given the lease up, some 45 s at most (lease-break-time).
// Thread-safety: a pure function of the system.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "blobs/image_disk.h"

namespace lamina {

// `path` is absolute, without "..", and lies below one of `directories`; no link is followed on the
// way. Errors, with the path and what to do: not_permitted, it lies below none of them; not_found;
// access; invalid, it is reached by a link, is neither a regular file nor a block device, is empty,
// or holds an image of another format than raw; too_big, past 16 TiB; io.
Result<std::shared_ptr<ImageDisk>> open_image_file(const std::string& path,
                                                   const std::vector<std::string>& directories);

}  // namespace lamina
