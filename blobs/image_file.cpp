// SPDX-License-Identifier: Apache-2.0
#include "blobs/image_file.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/mutex.h"
#include "blobs/origin.h"
#include "blobs/uring_loop.h"

namespace lamina {
namespace {

constexpr uint64_t largest_read = gib;

uint64_t to_ns(const timespec& time) {
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

class ImageFile final : public ImageDisk {
 public:
  ImageFile(std::string path, int fd, bool regular, uint64_t bytes)
      : path_(std::move(path)), fd_(fd), regular_(regular), size_(round_up(bytes, block_size)) {
    traits_.block_device = !regular;
    leased_ = regular && fcntl(fd_, F_SETLEASE, F_RDLCK) == 0;
    // Nobody is to be sent a signal: state() asks.
    if (leased_) fcntl(fd_, F_SETOWN, 0);
  }
  ~ImageFile() override { close(fd_); }

  uint64_t size() const override { return size_; }
  const DiskTraits& traits() const override { return traits_; }
  const std::string& name() const override { return path_; }
  void submit(DiskOperation& operation) override;
  Result<ImageState> state() override;

 private:
  class Request;

  const std::string path_;
  const int fd_;
  const bool regular_;
  const uint64_t size_;
  DiskTraits traits_;
  Mutex mutex_;
  bool leased_ GUARDED_BY(mutex_) = false;
};

// A read under way. Lies in the operation's scratch.
class ImageFile::Request final : public RingHandler {
 public:
  Request(int fd, DiskOperation& operation) : operation_(operation), fd_(fd) {}

  void queue() {
    io_uring_sqe* const sqe = UringLoop::current().disk_sqe(*this);
    const uint64_t left = operation_.length - done_;
    io_uring_prep_read(sqe, fd_, operation_.data + done_,
                       static_cast<unsigned>(std::min(left, largest_read)),
                       operation_.offset + done_);
    if (retried_) sqe->flags |= IOSQE_ASYNC;
  }
  void complete(int32_t result, uint32_t) override {
    if (result == -EAGAIN || result == -EINTR) {
      retried_ = true;
      return queue();
    }
    if (result < 0) return operation_.complete(-result);
    done_ += static_cast<uint64_t>(result);
    if (result > 0 && done_ < operation_.length) return queue();
    // Behind the end. Whether it is where it was, whoever reads asks afterwards.
    std::memset(operation_.data + done_, 0, operation_.length - done_);
    operation_.complete(0);
  }

 private:
  DiskOperation& operation_;
  const int fd_;
  bool retried_ = false;
  uint64_t done_ = 0;
};

void ImageFile::submit(DiskOperation& operation) {
  static_assert(sizeof(Request) <= sizeof operation.scratch);
  LAMINA_CHECK(operation.kind == DiskOperation::Kind::read);
  (new (operation.scratch.data()) Request(fd_, operation))->queue();
}

// While the lease is there, or is being taken away and whoever wants to write waits for us, what
// fstat() says is what it was before. One that is gone already was taken after the kernel's time.
Result<ImageState> ImageFile::state() {
  ImageState now;
  Lock lock(mutex_);
  const bool breaking = leased_ && fcntl(fd_, F_GETLEASE) != F_RDLCK;
  struct stat about {};
  if (fstat(fd_, &about) != 0)
    return fail(Code::io, path_ + ": cannot be looked at: " + std::strerror(errno));
  now.leased = leased_;
  if (breaking) {
    now.leased = fcntl(fd_, F_SETLEASE, F_UNLCK) == 0;
    leased_ = false;
  }
  if (!regular_) {
    if (ioctl(fd_, BLKGETSIZE64, &now.size_bytes) != 0)
      return fail(Code::io, path_ + ": its size is unknown: " + std::strerror(errno));
    return now;
  }
  now.size_bytes = static_cast<uint64_t>(about.st_size);
  now.mtime_ns = to_ns(about.st_mtim);
  now.ctime_ns = to_ns(about.st_ctim);
  now.inode = about.st_ino;
  return now;
}

bool lies_below(const std::string& path, std::string directory) {
  while (directory.size() > 1 && directory.ends_with('/')) directory.pop_back();
  if (directory != "/") directory += '/';
  return path.size() > directory.size() && path.starts_with(directory);
}

bool has_steps_back(const std::string& path) {
  return (path + "/").find("/../") != std::string::npos;
}

std::unexpected<Error> cannot_open(const std::string& path, int error_number) {
  const std::string what = path + ": cannot be opened as an external origin: ";
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      return fail(Code::not_found, what + "there is no such file");
    case ELOOP:
      return fail(Code::invalid, what +
                                     "a symbolic link is on the way, and none is followed; name "
                                     "the file by the path that `realpath` prints, and list its "
                                     "directory by that too");
    case EACCES:
    case EPERM:
      return fail(Code::access, what + "the daemon may not read it");
    default:
      return fail(Code::io, what + std::strerror(error_number));
  }
}

struct Format {
  const char* name;
  const char* of_qemu;
  size_t offset;
  std::string_view magic;
};
using namespace std::string_view_literals;
constexpr std::array<Format, 8> other_formats{{
    {"qcow2", "qcow2", 0, "QFI\xfb"sv},
    {"VMDK", "vmdk", 0, "KDMV"sv},
    {"VMDK", "vmdk", 0, "COWD"sv},
    {"VMDK", "vmdk", 0, "# Disk DescriptorFile"sv},
    {"VHDX", "vhdx", 0, "vhdxfile"sv},
    {"VHD", "vpc", 0, "conectix"sv},
    {"QED", "qed", 0, "QED\0"sv},
    {"VDI", "vdi", 64, "\x7f\x10\xda\xbe"sv},
}};

// A guest would see the container instead of what is in it.
Result<> check_raw(const std::string& path, int fd) {
  std::array<char, 512> head{};
  const ssize_t got = pread(fd, head.data(), head.size(), 0);
  if (got < 0) return cannot_open(path, errno);
  const std::string_view bytes(head.data(), static_cast<size_t>(got));
  for (const Format& format : other_formats) {
    if (bytes.size() < format.offset + format.magic.size() ||
        bytes.substr(format.offset, format.magic.size()) != format.magic)
      continue;
    return fail(Code::invalid, path + ": is a " + format.name +
                                   " image, and only raw ones are read through; make one by\n"
                                   "  qemu-img convert -O raw '" +
                                   path + "' '" + path + ".raw'");
  }
  return {};
}

Result<uint64_t> size_of(const std::string& path, int fd, const struct stat& about) {
  if (S_ISREG(about.st_mode)) return static_cast<uint64_t>(about.st_size);
  uint64_t bytes = 0;
  if (ioctl(fd, BLKGETSIZE64, &bytes) != 0) return cannot_open(path, errno);
  return bytes;
}

}  // namespace

Result<std::shared_ptr<ImageDisk>> open_image_file(const std::string& path,
                                                   const std::vector<std::string>& directories) {
  if (!path.starts_with('/') || has_steps_back(path))
    return fail(Code::invalid, "an external origin is named by its absolute path, without \"..\"");
  if (path.size() > origin_path_limit)
    return fail(Code::name_too_long, "the path of an external origin has at most " +
                                         std::to_string(origin_path_limit) + " bytes");
  const bool allowed = std::ranges::any_of(
      directories, [&](const std::string& directory) { return lies_below(path, directory); });
  if (!allowed)
    return fail(Code::not_permitted,
                path +
                    ": lies below no directory that the pool file allows; add one, as in "
                    "`origins: [" +
                    path.substr(0, std::max<size_t>(1, path.rfind('/'))) + "]`, and mount again");
  open_how how{};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;  // a fifo must not hold us up
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  const int fd = static_cast<int>(syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how));
  if (fd < 0) return cannot_open(path, errno);
  struct stat about {};
  Result<uint64_t> size = uint64_t{0};
  Result<> good;
  if (fstat(fd, &about) != 0)
    good = cannot_open(path, errno);
  else if (!S_ISREG(about.st_mode) && !S_ISBLK(about.st_mode))
    good = fail(Code::invalid, path + ": is neither a regular file nor a block device");
  if (good) good = check_raw(path, fd);
  if (good) size = size_of(path, fd, about);
  if (good && !size) good = forward_error(size);
  if (good && *size == 0) good = fail(Code::invalid, path + ": is empty");
  if (good && *size > origin_size_limit)
    good = fail(Code::too_big, path + ": is larger than 16 TiB, the most of an external origin");
  if (!good) {
    close(fd);
    return forward_error(good);
  }
  fcntl(fd, F_SETFL, 0);  // reads may wait
  return std::make_shared<ImageFile>(path, fd, S_ISREG(about.st_mode), *size);
}

}  // namespace lamina
