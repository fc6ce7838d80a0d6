// SPDX-License-Identifier: Apache-2.0
#include "fuse/virtual_files.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/executor.h"
#include "fuse/file_system.h"
#include "fuse/status_text.h"

namespace lamina {
namespace {

// Openings whose contents are kept; past these every read generates anew.
constexpr size_t max_kept_contents = 256;
constexpr uint64_t ns_per_s = 1'000'000'000;

}  // namespace

std::string FileSystem::generate(Inode inode) const {
  switch (raw(inode)) {
    case raw(status_inode):
      return status_json(pool_.status(), features(), options_.process);
    case raw(metrics_inode):
      return metrics_text(pool_.status());
    case raw(lost_inode):
      return lost_text(pool_.lost());
    case raw(check_inode):
      return check_text(pool_.status(), pool_.check_findings());
    case raw(version_inode):
      return options_.version + "\n";
  }
  return {};
}

fuse_attr FileSystem::virtual_attributes(Inode inode) const {
  const Attributes root = pool_.root_attributes();
  fuse_attr attr{};
  attr.ino = raw(inode);
  if (inode == control_directory) {
    attr.mode = S_IFDIR | 0555;
    attr.nlink = 2;
  } else {
    attr.mode = S_IFREG | 0444;
    attr.nlink = 1;
    attr.size = generate(inode).size();
    attr.blocks = div_up(attr.size, 512);
  }
  attr.uid = root.uid;
  attr.gid = root.gid;
  attr.blksize = block_size;
  const uint64_t now = Executor::current().wall_ns();
  attr.atime = attr.mtime = attr.ctime = now / ns_per_s;
  return attr;
}

void FileSystem::lookup_virtual(Request& request, std::string_view name) {
  Inode inode = control_directory;
  if (is_virtual(request.inode())) {
    const auto file = std::ranges::find(virtual_files, name, &VirtualFile::name);
    if (request.inode() != control_directory || file == virtual_files.end())
      return request.fail(ENOENT);
    inode = file->inode;
  }
  fuse_entry_out entry{};
  entry.nodeid = raw(inode);
  entry.entry_valid = entry_timeout_s;
  entry.attr_valid = 0;  // its size is another one at the next look
  entry.attr = virtual_attributes(inode);
  request.answer(entry);
}

// What lies in external origins that have changed takes a look at maps: of `lost` only an opening
// has it.
Task<void> FileSystem::open_virtual(Request& request) {
  if (request.inode() == control_directory) co_return request.fail(EISDIR);
  const uint32_t flags = request.argument<fuse_open_in>()->flags;
  if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC)) co_return request.fail(EACCES);
  std::string text;
  if (request.inode() == lost_inode) {
    Task<Result<std::vector<LostRange>>> listing = pool_.lost_now();
    const Result<std::vector<LostRange>> lost = co_await listing;
    if (!lost) co_return request.fail(lost.error());
    text = lost_text(*lost);
  } else {
    text = generate(request.inode());
  }
  auto contents = std::make_shared<const std::string>(std::move(text));
  fuse_open_out out{};
  out.open_flags = FOPEN_DIRECT_IO;
  {
    Lock lock(mutex_);
    if (contents_.size() < max_kept_contents) {
      out.fh = ++last_handle_;
      contents_.emplace(out.fh, std::move(contents));
    }
  }
  request.answer(out);
}

void FileSystem::read_virtual(Request& request) {
  const fuse_read_in in = *request.argument<fuse_read_in>();
  if (request.inode() == Inode::root || request.inode() == control_directory)
    return request.fail(EISDIR);
  std::shared_ptr<const std::string> contents;
  {
    Lock lock(mutex_);
    const auto kept = contents_.find(in.fh);
    if (kept != contents_.end()) contents = kept->second;
  }
  if (!contents) contents = std::make_shared<const std::string>(generate(request.inode()));
  if (in.offset >= contents->size()) return request.succeed();
  request.answer_bytes(std::string_view(*contents).substr(in.offset, in.size));
}

void FileSystem::release_virtual(uint64_t handle) {
  Lock lock(mutex_);
  contents_.erase(handle);
}

}  // namespace lamina
