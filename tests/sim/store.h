// SPDX-License-Identifier: Apache-2.0
// What the simulator drives: the part of Pool's face that it uses, so that the oracle itself can be
// tried on a store with known bugs (memory_store.h); and the machine that it runs on and that is
// crashed.
// Thread-safety: none; one SimExecutor runs everything.
#pragma once

#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "base/task.h"
#include "blobs/sim_executor.h"
#include "engine/pool.h"

namespace lamina::sim {

// An image that devices may be read through to. Block b of it holds what Content::tagged() says of
// the tag, b and version 1, up to its end.
struct OutsideImage {
  std::string path;
  uint64_t tag = 0, bytes = 0;
};

// Methods mean what those of Pool mean (engine/pool.h).
class Store {
 public:
  virtual ~Store() = default;

  virtual Result<DeviceInfo> find(const std::string& name) = 0;
  virtual Result<DeviceInfo> info(DeviceId id) = 0;
  virtual std::vector<DeviceInfo> list() = 0;
  virtual Task<Result<DeviceInfo>> create(std::string name, uint64_t size, Attributes a) = 0;
  virtual Task<Result<>> remove(std::string name) = 0;
  virtual Task<Result<>> rename(std::string from, std::string to, bool replace) = 0;
  virtual Task<Result<std::vector<DeviceInfo>>> fork(std::vector<Pool::Fork> forks,
                                                     bool read_only) = 0;
  virtual Task<Result<>> roll_back(DeviceId id, DeviceId source, bool force) = 0;
  virtual Result<> open_device(DeviceId id) = 0;
  virtual Task<Result<>> close_device(DeviceId id) = 0;

  virtual Task<Result<>> set_attributes(DeviceId id, Attributes attributes) = 0;
  virtual Task<Result<>> set_read_only(DeviceId id, bool read_only) = 0;
  virtual Result<std::string> get_xattr(DeviceId id, const std::string& name) = 0;
  virtual std::vector<std::string> list_xattrs(DeviceId id) = 0;
  virtual Task<Result<>> set_xattr(DeviceId id, std::string name, std::string value) = 0;
  virtual Task<Result<>> remove_xattr(DeviceId id, std::string name) = 0;
  virtual Attributes root_attributes() = 0;
  virtual Task<Result<>> set_root_attributes(Attributes attributes) = 0;

  virtual Task<Result<size_t>> read(DeviceId id, uint64_t offset, std::span<std::byte> into) = 0;
  virtual Task<Result<>> write(DeviceId id, uint64_t offset, std::span<const std::byte> from) = 0;
  virtual Task<Result<uint64_t>> copy(DeviceId from, uint64_t offset, DeviceId to,
                                      uint64_t to_offset, uint64_t length) = 0;
  virtual Task<Result<>> erase(DeviceId id, uint64_t offset, uint64_t length) = 0;
  virtual Task<Result<>> resize(DeviceId id, uint64_t size) = 0;
  virtual Task<Result<>> truncate_to_empty(DeviceId id) = 0;
  virtual Task<Result<>> reserve(DeviceId id, uint64_t offset, uint64_t length, bool keep) = 0;
  virtual Task<Result<std::vector<MappedRange>>> map(DeviceId id, DeviceBlock begin,
                                                     size_t limit) = 0;
  virtual std::vector<OutsideImage> images() { return {}; }
  virtual Task<Result<>> set_origin(DeviceId, std::string) { co_return fail(Code::unsupported); }
  virtual Task<Result<>> flush(DeviceId id) = 0;
  virtual Task<Result<>> sync() = 0;
  virtual Task<Result<>> checkpoint() = 0;
  virtual Task<Result<>> count_shares() = 0;
  virtual Task<Result<>> grow() = 0;  // the disks become larger, and the pool takes that in
  // A blob is added, evacuated, kept or removed, or that is tried where it must be refused.
  virtual Task<Result<>> change_members(uint64_t choice) = 0;
  // In the background; `stop`: whatever was asked for ends.
  virtual void defrag(DeviceId id, bool stop) = 0;
  virtual void scrub(bool stop) = 0;
  virtual void age() = 0;
  // Asks for a check, and says what the one before has found, if that has ended; empty: nothing.
  virtual std::string check(bool data) = 0;
  virtual Task<void> pin(DeviceId id, std::string blob) = 0;
  virtual Task<Result<>> close() = 0;
  virtual PoolStatus status() = 0;
};

// A machine with a store on it, whose power can be cut.
class Machine {
 public:
  virtual ~Machine() = default;

  // A new life: a new executor, nothing open.
  virtual void power_on(uint64_t seed) = 0;
  virtual SimExecutor& executor() = 0;
  virtual Task<Result<>> open() = 0;  // then store() is there
  virtual Store& store() = 0;
  // The crash comes within a short while from now; drive() then returns false.
  virtual void arm_crash(std::mt19937_64& random) = 0;
  virtual bool drive(Task<void> task) = 0;
  // What the crash does to the medium. Nothing is open afterwards.
  virtual void crash(std::mt19937_64& random) = 0;
  virtual uint64_t removed_blobs() const { return 0; }
  // After a close(): the store goes, the medium stays.
  virtual void power_off() = 0;
};

}  // namespace lamina::sim
