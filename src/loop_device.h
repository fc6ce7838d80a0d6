// SPDX-License-Identifier: Apache-2.0
// Loop devices over files: found, made and taken away by the kernel's own calls; no losetup.
// Thread-safety: pure functions of the system's state; several processes may attach at once.
// Errors, with what to do: access: not root; busy: the loop is in use; unsupported: no loop driver,
//   or a sector size that it refuses; io.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "mount_table.h"

namespace lamina {

struct LoopDevice {
  uint32_t number = 0;
  dev_t file_device = 0;  // st_dev and st_ino of the file behind it
  ino_t file_inode = 0;
  std::string file;  // its path, as the kernel tells it
  bool read_only = false;
  bool direct_io = false;
  uint32_t sector_bytes = 512;
  std::string path() const { return "/dev/loop" + std::to_string(number); }
};

// All that are attached to something.
std::vector<LoopDevice> attached_loops();
// Of those, the ones over this file, or over any file of the file system `device`.
std::vector<LoopDevice> loops_over(dev_t device, ino_t inode);
std::vector<LoopDevice> loops_in(dev_t device);

struct AttachOptions {
  uint32_t sector_bytes = 512;
  bool partitions = false;
  bool read_only = false;
};

struct Attached {
  LoopDevice loop;
  bool was_there = false;  // attached before; nothing was done
};
Result<Attached> attach_loop(const std::string& file, const AttachOptions& options);
// Error busy lists what uses it.
Result<> detach_loop(const LoopDevice& loop);
// Makes the loop as large as its file has become.
Result<> refresh_loop_size(const LoopDevice& loop);

struct BlockDevice {
  std::string name;  // "loop0p1"
  dev_t number = 0;  // st_rdev of its node
  std::string path() const { return "/dev/" + name; }
};
// The loop itself, its partitions, and what is made of them (dm, md), however deep: each has
// buffers of its own, and can be mounted. What lies on another comes behind it.
std::vector<BlockDevice> devices_of_loop(const LoopDevice& loop);

struct LoopMount {
  std::string from;  // "/dev/loop0p1"
  MountEntry mount;
};
// What is mounted from any of them.
std::vector<LoopMount> mounts_of_loop(const LoopDevice& loop);

// What is mounted from any of them, swaps on it or holds it (dm, md): a line each, empty: nothing.
// Processes that have one open are no part of it: open_files.h finds them.
std::vector<std::string> users_of_loop(const LoopDevice& loop);

}  // namespace lamina
