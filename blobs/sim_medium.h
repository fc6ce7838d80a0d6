// SPDX-License-Identifier: Apache-2.0
// What lies on a simulated disk, with its volatile cache: it outlives crashes and whoever opened
// it. A crash keeps, drops or tears any subset of the unflushed writes at 512 bytes, in any order.
// Thread-safety: none. Ownership: of the bytes; memory grows with what was written, not with the
//   size, so that a terabyte is cheap while it is empty.
// Durability: a write is durable once a flush that was submitted after it completed has completed.
//   A flush that failed makes nothing durable, and what it should have made durable never is
//   until it is written again: trusting a second flush is a mistake that a power cut shows.
// Units: bytes; offsets and lengths of a disk's operations are multiples of a block.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <string>

#include "blobs/disk.h"

namespace lamina {

class SimMedium {
 public:
  SimMedium(std::string name, uint64_t size);
  ~SimMedium();
  SimMedium(const SimMedium&) = delete;
  SimMedium& operator=(const SimMedium&) = delete;
  // Another one with the same contents, cache and watched regions, to try a second crash on.
  // Cheap: unchanged pages are shared. Not while it is open and used.
  std::unique_ptr<SimMedium> clone() const;

  const std::string& name() const;
  uint64_t size() const;
  void grow(uint64_t size);
  // What a disk that opens it says of itself. By default: a file with a write cache and a discard
  // granularity of one block. Without a write cache a write is durable when it completes.
  void set_traits(const DiskTraits& traits);
  const DiskTraits& traits() const;

  // Who has it begins anew, as after a crash: what was written before may be repeated as it is.
  void begin_life();

  // For tests that look or damage: what a read would find now, and right after a power cut that is
  // exactly what survived. Any alignment. Damage is durable at once.
  void read(uint64_t offset, std::span<std::byte> into) const;
  void damage(uint64_t offset, std::span<const std::byte> bytes);
  void fail_reads(uint64_t offset, uint64_t length);  // latent errors, until written again

  // The power goes: each 512-byte piece of each unflushed write, under way or completed, is kept or
  // not as `random` decides.
  void power_cut(std::mt19937_64& random);
  // Only the process dies: completed writes stay in the cache, what was under way is done wholly,
  // partly or not at all. Nothing becomes durable by it.
  void process_killed(std::mt19937_64& random);

  // Counts since construction, of operations submitted.
  uint64_t flushes() const, writes() const, reads() const, discards() const;
  uint64_t bytes_written() const;
  uint64_t bytes_zeroed() const, bytes_discarded() const;  // by prepares, by discards

  // Erase-sized streaming: between two discards of a region registered as a segment every block
  // of it is written at most once and front to back; `excepted` blocks (header and summary
  // places) may be written again, and what an earlier opening of the disk wrote may be repeated
  // as it is (A19). A violation calls `on_violation`, which fails the test; so do
  // two overlapping writes under way at once, and memory that changes while it is being written.
  // Regions do not overlap. Without on_violation a violation ends the process.
  struct StreamRegion {
    uint64_t offset, length;                       // bytes
    std::function<bool(uint32_t block)> excepted;  // counted from the region's start
  };
  void watch(StreamRegion region);
  void unwatch_from(uint64_t offset);  // bytes; what lies there is no region any more
  void on_violation(std::function<void(const std::string&)> report);

 private:
  friend class SimDisk;
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lamina
