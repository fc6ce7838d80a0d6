// SPDX-License-Identifier: Apache-2.0
// Which processes have files of a file system open, mapped or as their folder. What this user may
// not see is left out; loop devices hold files without a process and are found by loop_device.h.
// Thread-safety: pure functions of the system's state.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace lamina {

struct FileUser {
  pid_t process = 0;
  std::string command;
  std::string file;  // what it has open; a folder where that is its working directory
};

// Users of anything on the file system `device`, or of its file `inode` alone.
std::vector<FileUser> users_of_files(dev_t device, std::optional<ino_t> inode = std::nullopt);
// Who has the block device of this number open, by whichever node.
std::vector<FileUser> users_of_block_device(dev_t number);

}  // namespace lamina
