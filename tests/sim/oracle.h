// SPDX-License-Identifier: Apache-2.0
// What a pool must hold: every device, name, size, attribute and block with all the versions that
// it went through since everything was last known. The workload tells it of each operation when it
// begins and when it ends; after a crash it looks for a cut that explains what is found.
// Thread-safety: none. Units: bytes and blocks, as named.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "content.h"
#include "engine/pool.h"
#include "history.h"
#include "report.h"
#include "store.h"

namespace lamina::sim {

// The attributes that nothing but set_attributes changes.
struct Permissions {
  uint32_t mode = 0, uid = 0, gid = 0;
  static Permissions of(const Attributes& a) { return {a.mode, a.uid, a.gid}; }
  friend bool operator==(const Permissions&, const Permissions&) = default;
};

// How many bytes a device has. A write that makes it longer may have been done in part.
struct Size {
  uint64_t low = 0, high = 0;  // both possible
  static Size exactly(uint64_t bytes) { return {bytes, bytes}; }
};

struct ModelDevice {
  uint64_t tag = 0;              // in its payload
  DeviceId id = DeviceId::none;  // none: its creation has not been answered yet
  std::string name;              // as of now; empty: removed while open
  uint32_t opens = 0;
  Cell<Size> size;
  Cell<Permissions> permissions;
  Cell<bool> read_only{false};
  std::map<std::string, Cell<std::optional<std::string>>> xattrs;
  std::map<uint64_t, Cell<Content>> blocks;  // what is not here was never written: zeroes
  std::vector<OperationIndex> unflushed;     // operations that no flush has covered
  uint64_t family = 0;                       // devices of one are related; 0: nobody knows
  // Blocks that hold data which was written since it was last shared, and since the last recovery:
  // overwriting them is never refused (promise 4).
  std::set<uint64_t> alone;
  uint64_t shares = 0;  // how often it was
  void share() {
    alone.clear();
    ++shares;
  }

  uint64_t bytes() const { return size.current().high; }
  Content block(uint64_t index) const {
    auto found = blocks.find(index);
    return found == blocks.end() ? Content{} : found->second.current();
  }
};
using DeviceRef = std::shared_ptr<ModelDevice>;  // owners: the oracle and operations under way

class Oracle {
 public:
  explicit Oracle(Permissions root) : root_(root) {}

  // --- what the workload asks
  const std::map<uint64_t, DeviceRef>& devices() const { return devices_; }
  DeviceRef named(const std::string& name) const;  // as of now; null: nobody
  std::vector<std::string> names_ever() const;
  uint64_t next_version() { return ++version_; }

  // --- operations, told when they begin. `data` of a write was made by pattern().
  struct Created {
    OperationIndex operation;
    DeviceRef device;
  };
  Created create(const std::string& name, uint64_t size, Permissions permissions);
  // One device each of the sources, under the names. Of blocks that something is being done to, the
  // fork may have either version, until settle_fork() is told which it has.
  struct Forked {
    OperationIndex operation;
    std::vector<DeviceRef> devices;
    bool exact = true;
  };
  Forked fork(const std::vector<std::pair<DeviceRef, std::string>>& sources, bool read_only);
  static std::vector<uint64_t> unsettled_blocks(const ModelDevice& device);
  static void settle_fork(ModelDevice& device, uint64_t block, std::span<const std::byte> bytes,
                          Report& report);
  OperationIndex roll_back(ModelDevice& device, ModelDevice& source);
  OperationIndex remove(const std::string& name);
  OperationIndex rename(const std::string& from, const std::string& to);
  OperationIndex set_permissions(ModelDevice& device, Permissions permissions);
  OperationIndex set_read_only(ModelDevice& device, bool read_only);
  OperationIndex set_xattr(ModelDevice& device, const std::string& name,
                           std::optional<std::string> value);
  OperationIndex set_root(Permissions permissions);
  // Fills `data` with what a write of `version` puts there: zeroes in blocks for which `zero`.
  static void pattern(const ModelDevice& device, uint64_t offset, uint64_t version,
                      const std::vector<bool>& zero, std::span<std::byte> data);
  OperationIndex write(ModelDevice& device, uint64_t offset, uint64_t version,
                       const std::vector<bool>& zero, std::span<const std::byte> data);
  // Nobody changes the source meanwhile. `shortened` afterwards says that it was done only up to
  // `end`, a byte of the target.
  OperationIndex copy(const ModelDevice& source, uint64_t offset, ModelDevice& target,
                      uint64_t to_offset, uint64_t length);
  void shortened(OperationIndex operation, ModelDevice& device, uint64_t end);
  OperationIndex set_origin(ModelDevice& device, const OutsideImage& image);
  OperationIndex erase(ModelDevice& device, uint64_t offset, uint64_t length);
  OperationIndex resize(ModelDevice& device, uint64_t size);
  OperationIndex truncate_to_empty(ModelDevice& device);
  // Preallocation up to `end`, which may make the device longer.
  OperationIndex reserve(ModelDevice& device, uint64_t end);

  void completed(OperationIndex operation) { operations_.complete(operation); }
  // It failed and changed nothing.
  void withdraw(OperationIndex operation);
  // It failed in the middle: `device` is as it is found now, which is `size` bytes long and holds
  // `bytes` from block `first` on; each block the old or the new one.
  void settle_failed(OperationIndex operation, ModelDevice& device, uint64_t size, uint64_t first,
                     std::span<const std::byte> bytes, Report& report);

  // --- durability
  // What a flush of `device` (null: of everything) that begins now must make durable.
  std::vector<OperationIndex> covered(const ModelDevice* device) const;
  void durable(const std::vector<OperationIndex>& operations);

  // --- after a crash (or, `exact`, when everything must be as it is now)
  struct Found {  // one device as the store shows it
    DeviceInfo info;
    std::map<std::string, std::string> xattrs;
    // Every block below the size that was ever written, and more if the finder likes.
    std::map<uint64_t, std::vector<std::byte>> blocks;
    std::map<uint64_t, bool> unreadable;  // blocks that damage was done to and that read EIO
  };
  // Compares, and takes what was found as the new base. Damaged blocks must have been readable
  // otherwise: `damaged` {device, block} may be EIO.
  void recovered(const std::vector<Found>& found, Permissions root, bool exact, Report& report);
  // From now on a block that is found unreadable holds one of those contents, and keeps it: they
  // lie where nobody can read them.
  void tell_gone(std::function<bool(const Content&)> gone) { gone_ = std::move(gone); }
  // Blocks below `size` that a finder must read of a device.
  std::vector<uint64_t> interesting_blocks(DeviceId id, const std::string& name) const;

  const Operations& operations() const { return operations_; }
  DeviceId highest_id() const { return highest_id_; }
  void bind(ModelDevice& device, DeviceId id, Report& report);

 private:
  struct Comparison;
  using Names = std::map<std::string, Cell<uint64_t>>;  // to tags; 0: nobody

  OperationIndex begin(std::string what, bool atomic, std::vector<ModelDevice*> of);
  void put(ModelDevice& device, uint64_t block, Content content, OperationIndex operation);
  void grow(ModelDevice& device, uint64_t end, OperationIndex operation);
  void zero_range(ModelDevice& device, uint64_t from, uint64_t to, OperationIndex operation);
  DeviceRef find_device(const Found& found, const Cell<uint64_t>& cell) const;
  void settle(Comparison& comparison);

  Operations operations_;
  uint64_t version_ = 0, tags_ = 0;
  DeviceId highest_id_ = DeviceId::none;
  std::map<uint64_t, DeviceRef> devices_;  // by tag; also those removed since the base
  Names names_;
  Cell<Permissions> root_;
  std::function<bool(const Content&)> gone_;
};

}  // namespace lamina::sim
