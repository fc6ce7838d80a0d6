// SPDX-License-Identifier: Apache-2.0
#include "loop_device.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "file_handle.h"
#include "lamina_path.h"

namespace lamina {
namespace {

namespace fs = std::filesystem;

// A free loop may be taken by somebody else, and its node may take a moment to appear.
constexpr int attach_attempts = 64;
constexpr auto pause = std::chrono::milliseconds(20);

std::string sysfs_of(const LoopDevice& loop) {
  return "/sys/block/loop" + std::to_string(loop.number);
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Whether something is attached to it; fills in the rest.
bool describe(LoopDevice& loop) {
  const FileHandle handle(open(loop.path().c_str(), O_RDONLY | O_CLOEXEC));
  loop_info64 info{};
  if (!handle || ioctl(handle.get(), LOOP_GET_STATUS64, &info) != 0) return false;
  loop.file_device = info.lo_device;
  loop.file_inode = info.lo_inode;
  loop.read_only = (info.lo_flags & LO_FLAGS_READ_ONLY) != 0;
  loop.direct_io = (info.lo_flags & LO_FLAGS_DIRECT_IO) != 0;
  loop.file = first_line(sysfs_of(loop) + "/loop/backing_file");
  const std::string sector = first_line(sysfs_of(loop) + "/queue/logical_block_size");
  if (!sector.empty()) loop.sector_bytes = static_cast<uint32_t>(std::stoul(sector));
  return true;
}

template <class Wanted>
std::vector<LoopDevice> loops_where(Wanted wanted) {
  std::vector<LoopDevice> loops = attached_loops();
  std::erase_if(loops, [&](const LoopDevice& loop) { return !wanted(loop); });
  return loops;
}

Result<LoopDevice> configure_free_loop(int control, const std::string& file, int file_handle,
                                       const AttachOptions& options) {
  loop_config config{};
  config.fd = static_cast<uint32_t>(file_handle);
  config.block_size = options.sector_bytes;
  config.info.lo_flags = LO_FLAGS_DIRECT_IO;
  if (options.read_only) config.info.lo_flags |= LO_FLAGS_READ_ONLY;
  if (options.partitions) config.info.lo_flags |= LO_FLAGS_PARTSCAN;
  std::strncpy(reinterpret_cast<char*>(config.info.lo_file_name), file.c_str(), LO_NAME_SIZE - 1);
  int error_number = 0;
  for (int attempt = 0; attempt < attach_attempts; ++attempt) {
    const int number = ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0) return system_error("cannot find a free loop device in", "/dev", errno);
    LoopDevice loop;
    loop.number = static_cast<uint32_t>(number);
    const FileHandle handle(
        open(loop.path().c_str(), (options.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
    if (handle && ioctl(handle.get(), LOOP_CONFIGURE, &config) == 0) {
      describe(loop);
      return loop;
    }
    error_number = errno;
    if (error_number != EBUSY && error_number != ENOENT && error_number != ENXIO) break;
    std::this_thread::sleep_for(pause);
  }
  return system_error("cannot attach a loop device to", file, error_number);
}

void add_swaps(const LoopDevice& loop, std::vector<std::string>& users) {
  std::ifstream swaps("/proc/swaps");
  for (std::string line; std::getline(swaps, line);)
    if (line.starts_with(loop.path() + " ") || line.starts_with(loop.path() + "p"))
      users.push_back("swap on " + line.substr(0, line.find(' ')));
}

std::string sysfs_of(const BlockDevice& device) {
  return "/sys/class/block/" + device.name;
}

std::vector<std::string> entries_of(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> holders_of(const BlockDevice& device) {
  return entries_of(sysfs_of(device) + "/holders");
}

std::vector<std::string> partitions_of(const BlockDevice& device) {
  std::vector<std::string> names = entries_of(sysfs_of(device));
  std::erase_if(names, [&](const std::string& name) { return !name.starts_with(device.name); });
  return names;
}

// A device with two below it comes once.
void add_block_device(const std::string& name, std::vector<BlockDevice>& devices) {
  const auto has_name = [&](const BlockDevice& device) { return device.name == name; };
  BlockDevice device{name};
  unsigned major_number = 0, minor_number = 0;
  if (std::any_of(devices.begin(), devices.end(), has_name) ||
      std::sscanf(first_line(sysfs_of(device) + "/dev").c_str(), "%u:%u", &major_number,
                  &minor_number) != 2)
    return;
  device.number = makedev(major_number, minor_number);
  devices.push_back(std::move(device));
}

// A file system over several disks has a number of its own; its source is one of them.
bool is_mounted_from(const MountEntry& mount, const BlockDevice& device) {
  if (mount.device == device.number) return true;
  struct stat source {};
  return mount.source.starts_with("/dev/") && stat(mount.source.c_str(), &source) == 0 &&
         S_ISBLK(source.st_mode) && source.st_rdev == device.number;
}

}  // namespace

std::vector<LoopDevice> attached_loops() {
  std::vector<LoopDevice> loops;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/sys/block", ignored)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with("loop") || !fs::exists(entry.path() / "loop", ignored)) continue;
    LoopDevice loop;
    loop.number = static_cast<uint32_t>(std::stoul(name.substr(4)));
    if (describe(loop)) loops.push_back(loop);
  }
  std::sort(loops.begin(), loops.end(),
            [](const LoopDevice& a, const LoopDevice& b) { return a.number < b.number; });
  return loops;
}

std::vector<LoopDevice> loops_over(dev_t device, ino_t inode) {
  return loops_where([&](const LoopDevice& loop) {
    return loop.file_device == device && loop.file_inode == inode;
  });
}

std::vector<LoopDevice> loops_in(dev_t device) {
  return loops_where([&](const LoopDevice& loop) { return loop.file_device == device; });
}

Result<Attached> attach_loop(const std::string& file, const AttachOptions& options) {
  const FileHandle control(open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control) {
    if (errno == ENOENT)
      return fail(Code::unsupported,
                  "there is no loop driver (/dev/loop-control is missing): "
                  "`modprobe loop`");
    return system_error("cannot attach a loop device, which needs root: cannot open",
                        "/dev/loop-control", errno);
  }
  // One at a time, so that of two who attach the same device the second finds the first's loop.
  flock(control.get(), LOCK_EX);
  const FileHandle backing(open(file.c_str(), (options.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC));
  if (!backing) {
    const int error_number = errno;
    if (error_number == EROFS)
      return fail(Code::read_only, file + " is read-only: attach it with --read-only");
    return system_error("cannot open", file, error_number);
  }
  struct stat status {};
  if (fstat(backing.get(), &status) != 0) return system_error("cannot look up", file, errno);
  const auto there = loops_over(status.st_dev, status.st_ino);
  if (!there.empty()) return Attached{there.front(), true};
  auto loop = configure_free_loop(control.get(), file, backing.get(), options);
  if (!loop) return forward_error(loop);
  return Attached{*loop, false};
}

Result<> detach_loop(const LoopDevice& loop) {
  const auto users = users_of_loop(loop);
  if (!users.empty()) {
    std::string message = loop.path() + " is in use:";
    for (const std::string& user : users) message += "\n  " + user;
    return fail(Code::busy, message);
  }
  {
    const FileHandle handle(open(loop.path().c_str(), O_RDONLY | O_CLOEXEC));
    if (!handle) return system_error("cannot open", loop.path(), errno);
    if (fsync(handle.get()) != 0) return system_error("cannot write out", loop.path(), errno);
    if (ioctl(handle.get(), LOOP_CLR_FD) != 0)
      return system_error("cannot detach", loop.path(), errno);
  }
  // The kernel detaches it when the last one has closed it, who may be somebody looking around.
  const std::string backing =
      "/sys/block/loop" + std::to_string(loop.number) + "/loop/backing_file";
  for (int i = 0; i < 200 && access(backing.c_str(), F_OK) == 0; ++i) usleep(10'000);
  return {};
}

Result<> refresh_loop_size(const LoopDevice& loop) {
  const FileHandle handle(open(loop.path().c_str(), O_RDONLY | O_CLOEXEC));
  if (!handle || ioctl(handle.get(), LOOP_SET_CAPACITY) != 0)
    return system_error("cannot tell the new size to", loop.path(), errno);
  return {};
}

std::vector<BlockDevice> devices_of_loop(const LoopDevice& loop) {
  std::vector<BlockDevice> devices;
  add_block_device("loop" + std::to_string(loop.number), devices);
  for (size_t at = 0; at < devices.size(); ++at) {
    const BlockDevice below = devices[at];
    for (const std::string& name : partitions_of(below)) add_block_device(name, devices);
    for (const std::string& name : holders_of(below)) add_block_device(name, devices);
  }
  return devices;
}

std::vector<LoopMount> mounts_of_loop(const LoopDevice& loop) {
  std::vector<LoopMount> mounts;
  const auto table = read_mount_table();
  for (const BlockDevice& device : devices_of_loop(loop))
    for (const MountEntry& mount : table)
      if (is_mounted_from(mount, device)) mounts.push_back({device.path(), mount});
  return mounts;
}

std::vector<std::string> users_of_loop(const LoopDevice& loop) {
  std::vector<std::string> users;
  for (const LoopMount& mounted : mounts_of_loop(loop))
    users.push_back(mounted.from + " is mounted at " + mounted.mount.point);
  for (const BlockDevice& device : devices_of_loop(loop))
    for (const std::string& holder : holders_of(device))
      users.push_back(device.path() + " is held by /dev/" + holder);
  add_swaps(loop, users);
  std::sort(users.begin(), users.end());
  users.erase(std::unique(users.begin(), users.end()), users.end());
  return users;
}

}  // namespace lamina
