// SPDX-License-Identifier: Apache-2.0
#include "blobs/file_disk.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <new>
#include <optional>
#include <type_traits>

#include "base/buffer.h"
#include "base/check.h"
#include "blobs/block_discarder.h"
#include "blobs/disk_claim.h"
#include "blobs/disk_traits.h"
#include "blobs/uring_loop.h"

namespace lamina {
namespace {

constexpr uint64_t largest_transfer = gib;  // a request; the kernel stops short of 2 GiB
constexpr uint64_t prepare_piece = mib;     // what prepare writes at a time
constexpr uint64_t sector = 512;            // the finest that O_DIRECT can go on from

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

Code code_of(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      return Code::not_found;
    case EACCES:
    case EPERM:
      return Code::access;
    case EROFS:
      return Code::read_only;
    case EEXIST:
      return Code::exists;
    case ENOSPC:
    case EDQUOT:
      return Code::no_space;
    case EFBIG:
      return Code::too_big;
    case EBUSY:
    case ETXTBSY:
      return Code::busy;
    default:
      return Code::io;
  }
}

const char* advice(int error_number) {
  switch (error_number) {
    case EACCES:
    case EPERM:
      return "; run as root or give this user the right to read and write it";
    case ENOSPC:
    case EDQUOT:
      return "; free some space on its file system";
    case EFBIG:
      return "; its file system or the limit of file sizes (ulimit -f) forbids it";
    case ETXTBSY:
      return "; it is in use as swap or as a program";
    default:
      return "";
  }
}

std::unexpected<Error> refuse(const std::string& path, const char* what, int error_number) {
  return fail(code_of(error_number),
              path + ": " + what + ": " + std::strerror(error_number) + advice(error_number));
}

std::unexpected<Error> no_direct_io(const std::string& path) {
  return fail(Code::unsupported,
              path +
                  ": its file system has no direct I/O (O_DIRECT) in blocks of 4 KiB; use a file "
                  "on ext4, XFS or btrfs, or a partition");
}

Result<uint64_t> whole_size(const std::string& path, int fd, const struct stat& about) {
  if (S_ISREG(about.st_mode)) return static_cast<uint64_t>(about.st_size);
  uint64_t bytes;
  if (ioctl(fd, BLKGETSIZE64, &bytes) != 0) return refuse(path, "its size is unknown", errno);
  return bytes;
}

// What prepare writes; one for all disks.
const std::byte* zeroes() {
  static const Buffer* const buffer = [] {
    auto* const made = new Buffer(prepare_piece);
    made->zero();
    return made;
  }();
  return buffer->data();
}

}  // namespace

class FileDisk final : public Disk {
 public:
  FileDisk(std::string path, Descriptor fd, DiskClaim claim, DiskTraits traits, uint64_t offset,
           uint64_t length, uint64_t size)
      : path_(std::move(path)),
        fd_(std::move(fd)),
        claim_(std::move(claim)),
        traits_(traits),
        offset_(offset),
        fixed_length_(length != 0),
        size_(size),
        discarder_(fd_.get()) {}

  uint64_t size() const override { return size_.load(std::memory_order_relaxed); }
  const DiskTraits& traits() const override { return traits_; }
  const std::string& name() const override { return path_; }
  void submit(DiskOperation& operation) override;
  Result<uint64_t> refresh_size() override;

 private:
  class Request;
  static Task<void> discard_blocks(BlockDiscarder& discarder, DiskOperation& operation,
                                   uint64_t offset);
  // The first part of [begin, end) that the file system has not written yet; empty: there is none.
  struct Unwritten {
    uint64_t begin, end;
  };
  Unwritten first_unwritten(uint64_t begin, uint64_t end) const;

  const std::string path_;
  const Descriptor fd_;
  const DiskClaim claim_;
  const DiskTraits traits_;
  const uint64_t offset_;    // of the part
  const bool fixed_length_;  // the part has an end of its own
  std::atomic<uint64_t> size_;
  BlockDiscarder discarder_;
};

// An operation under way. Lies in the operation's scratch.
class FileDisk::Request final : public RingHandler {
 public:
  Request(FileDisk& disk, DiskOperation& operation) : disk_(disk), operation_(operation) {}

  // Queues what is left of it.
  void queue();
  // Queues nothing but the completion, with `error`.
  void queue_end(int error);
  void complete(int32_t result, uint32_t flags) override;

 private:
  bool transfers() const {
    return operation_.kind == DiskOperation::Kind::read ||
           operation_.kind == DiskOperation::Kind::write ||
           operation_.kind == DiskOperation::Kind::write_through ||
           operation_.kind == DiskOperation::Kind::prepare;
  }

  FileDisk& disk_;
  DiskOperation& operation_;
  uint64_t done_ = 0;
  int error_ = 0;  // with which it ends, if `ending_`
  bool ending_ = false;
  bool retried_ = false;  // the kernel was short of something: let a worker wait for it
};

void FileDisk::Request::queue() {
  uint64_t end = operation_.length;  // of what goes out now
  if (operation_.kind == DiskOperation::Kind::prepare) {
    const uint64_t base = disk_.offset_ + operation_.offset;
    const Unwritten part = disk_.first_unwritten(base + done_, base + operation_.length);
    if (part.begin == part.end) return queue_end(0);
    done_ = part.begin - base;
    end = std::min(part.end - base, done_ + prepare_piece);
  }
  io_uring_sqe* const sqe = UringLoop::current().disk_sqe(*this);
  const int fd = disk_.fd_.get();
  const uint64_t at = disk_.offset_ + operation_.offset + done_;
  const uint64_t left = end - done_;
  const auto bytes = static_cast<unsigned>(std::min(left, largest_transfer));
  switch (operation_.kind) {
    case DiskOperation::Kind::read:
      io_uring_prep_read(sqe, fd, operation_.data + done_, bytes, at);
      break;
    case DiskOperation::Kind::write:
      io_uring_prep_write(sqe, fd, operation_.data + done_, bytes, at);
      break;
    case DiskOperation::Kind::write_through:
      // One request where a write and a flush are two, with a wait in between.
      io_uring_prep_write(sqe, fd, operation_.data + done_, bytes, at);
      sqe->rw_flags = RWF_DSYNC;
      break;
    case DiskOperation::Kind::flush:
      io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
      break;
    case DiskOperation::Kind::discard:
      io_uring_prep_fallocate(sqe, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                              static_cast<off_t>(at), static_cast<off_t>(left));
      break;
    case DiskOperation::Kind::prepare:
      io_uring_prep_write(sqe, fd, zeroes(), bytes, at);
      break;
  }
  if (retried_) sqe->flags |= IOSQE_ASYNC;
}

void FileDisk::Request::queue_end(int error) {
  ending_ = true;
  error_ = error;
  io_uring_prep_nop(UringLoop::current().sqe(*this));
}

void FileDisk::Request::complete(int32_t result, uint32_t) {
  if (ending_) return operation_.complete(error_);
  if (result == -EAGAIN || result == -EINTR) {
    retried_ = true;
    return queue();
  }
  if (result == -EOPNOTSUPP && operation_.kind == DiskOperation::Kind::discard) result = 0;
  if (result < 0) return operation_.complete(-result);
  if (!transfers()) return operation_.complete(0);
  done_ += static_cast<uint64_t>(result);
  if (operation_.kind == DiskOperation::Kind::prepare)
    operation_.zeroed += static_cast<uint64_t>(result);
  if (done_ == operation_.length) return operation_.complete(0);
  // Short. Nothing at all, or not even a sector: the end of a file that somebody has truncated.
  if (result == 0 || done_ % sector != 0) return operation_.complete(EIO);
  queue();
}

// Whether the file has real blocks there: not a hole, not allocated but unwritten, which file
// systems report as one.
FileDisk::Unwritten FileDisk::first_unwritten(uint64_t begin, uint64_t end) const {
  const off_t hole = lseek(fd_.get(), static_cast<off_t>(begin), SEEK_HOLE);
  if (hole < 0) return {begin, end};
  if (static_cast<uint64_t>(hole) >= end) return {end, end};
  const off_t data = lseek(fd_.get(), hole, SEEK_DATA);
  return {static_cast<uint64_t>(hole), data < 0 ? end : std::min(end, static_cast<uint64_t>(data))};
}

Task<void> FileDisk::discard_blocks(BlockDiscarder& discarder, DiskOperation& operation,
                                    uint64_t offset) {
  const int error = co_await discarder.discard(offset, operation.length);
  operation.complete(error);
}

void FileDisk::submit(DiskOperation& operation) {
  static_assert(sizeof(Request) <= sizeof operation.scratch);
  static_assert(alignof(Request) <= 8 && std::is_trivially_destructible_v<Request>,
                "nobody destroys what lies in the scratch");
  auto* const request = new (operation.scratch.data()) Request(*this, operation);
  const uint64_t limit = size();
  if (operation.offset > limit || operation.length > limit - operation.offset) {
    LAMINA_CHECK(operation.kind == DiskOperation::Kind::read);
    return request->queue_end(EIO);
  }
  const bool flush = operation.kind == DiskOperation::Kind::flush;
  if (operation.length == 0 && !flush) return request->queue_end(0);
  const uint64_t at = offset_ + operation.offset;
  if (operation.kind == DiskOperation::Kind::discard && traits_.block_device)
    return spawn(discard_blocks(discarder_, operation, at));
  if (operation.kind == DiskOperation::Kind::prepare && traits_.block_device)
    return request->queue_end(0);
  request->queue();
}

Result<uint64_t> FileDisk::refresh_size() {
  if (fixed_length_) return size();
  struct stat about {};
  if (fstat(fd_.get(), &about) != 0) return refuse(path_, "its size is unknown", errno);
  Result<uint64_t> whole = whole_size(path_, fd_.get(), about);
  if (!whole) return forward_error(whole);
  const uint64_t now = *whole < offset_ ? 0 : round_down(*whole - offset_, block_size);
  if (now < size())
    return fail(Code::io, path_ + ": has become smaller: " + std::to_string(now) +
                              " bytes instead of " + std::to_string(size()) +
                              "; make it as large as it was");
  size_ = now;
  return now;
}

namespace {

Result<> check_part(const std::string& path, const FileDiskOptions& options, uint64_t whole) {
  if (options.offset % block_size != 0 || options.length % block_size != 0)
    return fail(Code::invalid,
                path + ": offset and length of a part must be multiples of 4096 bytes");
  if (options.offset > whole || options.length > whole - options.offset)
    return fail(Code::invalid,
                path + ": the part ends behind the end, which is at byte " + std::to_string(whole));
  if (whole - options.offset < block_size)
    return fail(Code::invalid, path + ": is empty, or smaller than a block of 4096 bytes");
  return {};
}

// One block, as all others will be read.
Result<> try_direct_read(const std::string& path, int fd, uint64_t offset) {
  int sector_size = 0;
  if (ioctl(fd, BLKSSZGET, &sector_size) == 0 && sector_size > static_cast<int>(block_size))
    return fail(Code::unsupported, path + ": has sectors of " + std::to_string(sector_size) +
                                       " bytes; at most 4096 are supported");
  Buffer block(block_size);
  const ssize_t got = pread(fd, block.data(), block.size(), static_cast<off_t>(offset));
  if (got < 0 && errno == EINVAL) return no_direct_io(path);
  if (got < 0) return refuse(path, "cannot be read", errno);
  return {};
}

Result<Descriptor> open_path(const std::string& path, bool read_only) {
  struct stat about {};
  if (stat(path.c_str(), &about) != 0) return refuse(path, "cannot be opened", errno);
  if (!S_ISREG(about.st_mode) && !S_ISBLK(about.st_mode))
    return fail(Code::invalid, path + ": is neither a file nor a block device");
  const int flags = O_DIRECT | O_CLOEXEC | (read_only ? O_RDONLY : O_RDWR);
  const int fd = open(path.c_str(), flags);
  if (fd < 0 && errno == EINVAL) return no_direct_io(path);
  if (fd < 0) return refuse(path, "cannot be opened", errno);
  return Descriptor(fd);
}

}  // namespace

Result<std::unique_ptr<Disk>> open_file_disk(const std::string& path,
                                             const FileDiskOptions& options) {
  Result<Descriptor> fd = open_path(path, options.read_only);
  if (!fd) return forward_error(fd);
  struct stat about {};
  if (fstat(fd->get(), &about) != 0) return refuse(path, "cannot be opened", errno);
  // Between the look and the opening it may have been replaced.
  if (!S_ISREG(about.st_mode) && !S_ISBLK(about.st_mode))
    return fail(Code::invalid, path + ": is neither a file nor a block device");
  Result<uint64_t> whole = whole_size(path, fd->get(), about);
  if (!whole) return forward_error(whole);
  LAMINA_TRY(check_part(path, options, *whole));
  const DiskClaim::Part part{options.offset, options.length, options.read_only};
  Result<DiskClaim> claim = DiskClaim::take(path, fd->get(), about, part);
  if (!claim) return forward_error(claim);
  LAMINA_TRY(try_direct_read(path, fd->get(), options.offset));
  const uint64_t size =
      options.length != 0 ? options.length : round_down(*whole - options.offset, block_size);
  return std::make_unique<FileDisk>(path, std::move(*fd), std::move(*claim),
                                    probe_disk_traits(about), options.offset, options.length, size);
}

Result<> create_disk_file(const std::string& path, uint64_t size) {
  const Descriptor fd(open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (fd.get() < 0) return refuse(path, "cannot be made", errno);
  if (ftruncate(fd.get(), static_cast<off_t>(size)) != 0 || fsync(fd.get()) != 0) {
    const int error_number = errno;
    unlink(path.c_str());
    return refuse(path, "cannot be made that large", error_number);
  }
  const std::filesystem::path directory = std::filesystem::path(path).parent_path();
  const Descriptor parent(
      open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (parent.get() < 0 || fsync(parent.get()) != 0)
    return refuse(path, "its directory cannot be flushed", errno);
  return {};
}

}  // namespace lamina
