// SPDX-License-Identifier: Apache-2.0
// A fixed-size array of bytes that survives restarts as far as flush promises; the only way to a
// raw partition or file. Implementations: FileDisk (io_uring), SimDisk (simulated, crashes).
// Thread-safety: submit() from any thread that has an Executor; the operation completes on that
//   executor, never from inside submit(). The caller orders overlapping writes.
// Durability: a write is durable once a flush that was submitted after it completed has completed,
//   or at its own completion where it was asked to go through.
//   Until then a crash may keep it, drop it or tear it at 512 bytes, in any order.
// Units: bytes; offsets, lengths and memory are multiples of a block.
#pragma once

#include <array>
#include <atomic>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <list>
#include <span>
#include <string>

#include "base/result.h"
#include "base/units.h"

namespace lamina {

// What the kernel says of the device under a disk; shown to people and used for alignment.
struct DiskTraits {
  bool block_device = false;
  bool rotational = false;
  bool write_cache = true;           // false: writes are durable when they complete
  uint32_t optimal_io_bytes = 0;     // 0: not told
  uint32_t discard_granularity = 0;  // bytes; 0: cannot discard
};

class Disk;
class IoBatch;

// One request to a disk. Lives, at one address, until it has completed. The disk calls complete()
// once, as the last thing it does with it.
struct DiskOperation {
  enum class Kind : uint8_t {
    read,           // fills `data`
    write,          // of `data`
    write_through,  // durable, it alone, once it completes
    flush,          // everything that completed before is durable once this completes
    discard,        // contents of [offset, offset+length) become undefined; not a promise of zeroes
    prepare,  // like discard, but leaves space allocated and written, so that later writes to a
              // file's blocks cost its file system no journal; a no-op on block devices
  };
  Kind kind = Kind::read;
  uint64_t offset = 0;
  uint64_t length = 0;
  std::byte* data = nullptr;  // for a write it is only read
  int error = 0;              // 0 or a positive errno; a short transfer is EIO
  uint64_t zeroed = 0;        // bytes that a prepare had to write
  IoBatch* batch = nullptr;
  Disk* disk = nullptr;
  // For the disk, while the operation is under way: so that a request costs it no allocation.
  alignas(8) std::array<std::byte, 40> scratch;

  // May resume whoever waits for the batch, who may destroy both: touch neither afterwards.
  void complete(int error_number);
};

class Disk {
 public:
  virtual ~Disk() = default;

  virtual uint64_t size() const = 0;  // bytes
  virtual const DiskTraits& traits() const = 0;
  virtual const std::string& name() const = 0;  // for messages: the path
  virtual void submit(DiskOperation& operation) = 0;

  // A disk that fails is given up: nothing is placed on it any more, so what is written to it all
  // the same, flushed, discarded or prepared from now on need not reach it, and ends at once as if
  // it had (IoBatch). What lies there is still read. For good: a disk is opened anew.
  void give_up() { given_up_.store(true, std::memory_order_release); }
  bool given_up() const { return given_up_.load(std::memory_order_acquire); }
  // Writes and flushes that have failed since it was opened.
  uint64_t failures() const { return failures_.load(std::memory_order_relaxed); }
  void note_failure() { failures_.fetch_add(1, std::memory_order_relaxed); }
  // Reads, likewise: nobody gives up a disk for them.
  uint64_t failed_reads() const { return failed_reads_.load(std::memory_order_relaxed); }
  void note_failed_read() { failed_reads_.fetch_add(1, std::memory_order_relaxed); }

  // Adopts a size that has grown behind our back (a file or device made larger); the new size.
  virtual Result<uint64_t> refresh_size() = 0;

 private:
  std::atomic<bool> given_up_{false};
  std::atomic<uint64_t> failures_{0}, failed_reads_{0};
};

// Several operations, submitted at once and awaited together:
//   IoBatch batch; batch.read(disk, offset, buffer); ...; co_await batch; if (!batch.ok()) ...
// After the await it may be used again; it keeps its first error. A waiter that is resumed may
// destroy it.
// Thread-safety: one coroutine. Ownership: owns the operations, not the memory, not the disks.
class IoBatch {
 public:
  IoBatch() = default;
  IoBatch(const IoBatch&) = delete;
  IoBatch& operator=(const IoBatch&) = delete;
  ~IoBatch();  // asserts that nothing is under way

  // Each returns the operation, whose `error` is valid after the await and until the next use.
  // Asserts that offset, length and memory are multiples of a block.
  DiskOperation& read(Disk& disk, uint64_t offset, std::span<std::byte> into);
  DiskOperation& write(Disk& disk, uint64_t offset, std::span<const std::byte> from);
  DiskOperation& write_through(Disk& disk, uint64_t offset, std::span<const std::byte> from);
  DiskOperation& flush(Disk& disk);
  DiskOperation& discard(Disk& disk, uint64_t offset, uint64_t length);
  DiskOperation& prepare(Disk& disk, uint64_t offset, uint64_t length);

  bool await_ready() const { return pending_ == 0 && !dropped_; }
  void await_suspend(std::coroutine_handle<> handle);
  void await_resume();

  bool ok() const { return first_error_ == 0; }
  uint64_t zeroed() const { return zeroed_; }       // by all its prepares
  int first_error() const { return first_error_; }  // 0 or a positive errno
  // Ok, or the first error that any operation met, naming the disk.
  Result<> result() const;

 private:
  friend struct DiskOperation;
  DiskOperation& start(Disk& disk, DiskOperation::Kind kind, uint64_t offset, uint64_t length,
                       std::byte* data);

  // Every read of a guest uses a batch, nearly always for one or two operations: those live in
  // it, constructed when used, and only more of them are allocated.
  static constexpr uint32_t inline_operations = 4;
  alignas(DiskOperation) std::byte inline_[inline_operations * sizeof(DiskOperation)];
  std::list<DiskOperation> more_;  // addresses must stay
  uint32_t used_ = 0;              // operations since the last await
  uint32_t pending_ = 0;
  bool dropped_ = false;  // something that was meant for a disk that was given up
  int first_error_ = 0;
  uint64_t zeroed_ = 0;
  DiskOperation::Kind failed_kind_ = DiskOperation::Kind::read;
  uint64_t failed_offset_ = 0;
  const Disk* failed_disk_ = nullptr;
  std::coroutine_handle<> waiter_;
};

}  // namespace lamina
