// SPDX-License-Identifier: Apache-2.0
// The file system: what each request of the kernel means to the pool. One file per group of
// operations; to find WRITE, open fuse/write.cpp.
// Thread-safety: dispatch() from the thread of any reactor; an operation stays on the executor that
//   it began on and blocks it never.
// Ownership: the pool is the caller's and outlives it. A Request is the transport's.
// Durability: as the pool's; FSYNC and O_DSYNC end in Pool::flush() before the reply.
// State: none that a restart would miss. What is open is counted by the pool; the contents of
//   virtual files are kept from open to close only so that reads of one opening fit together.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "base/task.h"
#include "engine/pool.h"
#include "fuse/kernel_features.h"
#include "fuse/process.h"
#include "fuse/request.h"

namespace lamina {

// How long the kernel may keep what it was told, in seconds. Names change only through it. What is
// mapped becomes exact behind its back (a merge), so attributes are asked for again soon; reads and
// writes need neither.
inline constexpr uint64_t entry_timeout_s = 3600;
inline constexpr uint64_t attributes_timeout_s = 1;

// Of a mode those that a device keeps.
inline constexpr uint32_t permission_bits = 0777;

class FileSystem {
 public:
  struct Options {
    FeatureSet without;
    FeatureSet transport;  // what the reactor could have: multishot
    std::string version;
    ProcessStatus process;
    std::function<void()> on_ready;  // INIT was answered
    // Opens a disk and adds it to the pool: what `blob_add` was set to.
    std::function<Task<Result<>>(std::string)> add_blob;
    // Whether a path is outside of this mount, so that it can be opened without asking ourselves.
    std::function<Result<>(const std::string&)> check_outside;
    // Has the kernel write what it keeps of a device and has not written, and ask for it again.
    std::function<Task<void>(DeviceId)> write_back;
  };
  FileSystem(Pool& pool, Options options) : pool_(pool), options_(std::move(options)) {}

  // Carries `request` out; its error and reply are valid when the task has ended.
  Task<void> dispatch(Request& request);

  KernelFeatures features() const EXCLUDES(mutex_);

 private:
  // init.cpp
  void init(Request& request) EXCLUDES(mutex_);
  // lookup.cpp
  void lookup(Request& request);
  // attributes.cpp
  void get_attributes(Request& request);
  Task<void> set_attributes(Request& request);
  Task<void> set_root_attributes(Request& request);
  fuse_attr attributes_of(const DeviceInfo& info) const;
  fuse_attr root_attributes() const;
  std::optional<fuse_attr> attributes_of(Inode inode) const;
  fuse_entry_out entry_of(const DeviceInfo& info) const;
  // open.cpp
  Task<void> open(Request& request);
  Task<void> create(Request& request);
  Task<void> make_node(Request& request);
  Task<void> release(Request& request);
  Attributes new_attributes(const Request& request, uint32_t mode) const;
  Task<Result<>> open_device(DeviceId id, uint32_t flags);
  // names.cpp
  Task<void> unlink(Request& request);
  Task<void> rename(Request& request);
  // read.cpp, write.cpp, copy.cpp, sync.cpp, fallocate.cpp, seek.cpp
  Task<void> read(Request& request);
  Task<void> write(Request& request);
  Task<void> copy(Request& request);
  Task<void> sync(Request& request);
  Task<void> sync_directory(Request& request);
  Task<void> allocate(Request& request);
  Task<Result<>> zero_range(DeviceId id, uint64_t offset, uint64_t length, bool keep_size);
  Task<void> seek(Request& request);
  // directory.cpp
  void open_directory(Request& request);
  void read_directory(Request& request, bool plus) EXCLUDES(mutex_);
  // statfs.cpp
  void statfs(Request& request);
  // xattr.cpp
  Task<void> get_xattr(Request& request);
  Task<void> list_xattrs(Request& request);
  Task<void> set_xattr(Request& request);
  Task<void> remove_xattr(Request& request);
  // control.cpp: user.lamina and user.lamina.*
  Task<Result<std::string>> get_control(const Request& request, std::string key);
  Task<Result<>> set_control(const Request& request, std::string key, std::string value);
  bool may_control(const Request& request) const;
  bool may_open_paths(const Request& request) const;
  Task<Result<>> set_device_control(DeviceId device, std::string key, std::string value);
  Task<Result<>> change_members(std::string key, std::string value);
  Task<Result<>> roll_back(DeviceId device, std::string name, bool force);
  Task<Result<>> change_origin(DeviceId device, std::string key, std::string value);
  Task<Result<>> set_root_control(std::string key, std::string value);
  Result<std::vector<Pool::Fork>> forks_of_all(const std::string& suffix);
  Result<std::vector<Pool::Fork>> forks_of_some(const std::string& value);
  Task<Result<>> fork(std::vector<Pool::Fork> forks, bool read_only);
  Task<Result<std::string>> get_device_control(DeviceInfo info, std::string key);
  struct Placement {
    std::vector<uint64_t> bytes;  // of its data, by position among the blobs
    uint64_t stored = 0;          // bytes that they take
  };
  Task<Result<Placement>> placement_of(DeviceInfo info, const std::vector<BlobStatus>& blobs);
  Task<Result<std::string>> tiers_of(DeviceInfo info);
  Task<Result<std::string>> reverse_of(std::string place);
  Task<Result<std::string>> map_of(DeviceInfo info, std::string offset);
  // virtual_files.cpp
  std::string generate(Inode inode) const;
  fuse_attr virtual_attributes(Inode inode) const;
  void lookup_virtual(Request& request, std::string_view name);
  Task<void> open_virtual(Request& request) EXCLUDES(mutex_);
  void read_virtual(Request& request) EXCLUDES(mutex_);
  void release_virtual(uint64_t handle) EXCLUDES(mutex_);

  struct ListedName {
    DeviceId id;
    std::string name;
  };
  using Listing = std::shared_ptr<const std::vector<ListedName>>;
  Listing listing(bool from_start) EXCLUDES(mutex_);

  Pool& pool_;
  const Options options_;
  std::atomic<uint32_t> open_flags_{FOPEN_DIRECT_IO};

  mutable Mutex mutex_;  // a leaf: nothing else is taken under it
  KernelFeatures features_ GUARDED_BY(mutex_);
  // Kept between the calls that page through a large directory; both owners only read it.
  Listing listing_ GUARDED_BY(mutex_);
  uint64_t listed_ns_ GUARDED_BY(mutex_) = 0;
  // Contents of open virtual files. The second owner is the read that is under way.
  std::unordered_map<uint64_t, std::shared_ptr<const std::string>> contents_ GUARDED_BY(mutex_);
  uint64_t last_handle_ GUARDED_BY(mutex_) = 0;
};

}  // namespace lamina
