// SPDX-License-Identifier: Apache-2.0
// All devices and maps of a pool, made again from what the data says of itself: records, summaries
// and the tables of a checkpoint; no node, no node table and no slot is needed. Read-only. The
// simulator compares it with the pool after every crash, which is the proof that the format holds
// what a repair needs.
// The newest entry that a map can see wins, whether or not its data can be read (B2).
// Thread-safety: one coroutine. Ownership: the blobs outlive it.
// Errors: io of a disk; not_found where no tables of a checkpoint were found.
#pragma once

#include <map>
#include <vector>

#include "blobs/image_disk.h"
#include "blobs/origin.h"
#include "engine/rebuild_scan.h"

namespace lamina {

struct RebuiltExtent {
  DeviceBlock end{};
  ExtentKind kind = ExtentKind::zero;
  Address address{};  // data: of the first block
  Sequence sequence = 0;
};

struct RebuiltDevice {
  DeviceRow row;
  std::map<DeviceBlock, RebuiltExtent> extents;  // by first block
};

class Rebuilt {
 public:
  // `open_image`: null where nothing lies in external origins that is to be read.
  static Task<Result<Rebuilt>> from(std::vector<Blob*> blobs, OpenImage open_image = nullptr);
  // Of what was found already. Without `build_maps` the devices have no extents.
  static Task<Result<Rebuilt>> from(Scan scan, bool build_maps, OpenImage open_image = nullptr);

  const std::map<DeviceId, RebuiltDevice>& devices() const { return devices_; }
  const Attributes& root() const { return root_; }
  const std::map<Generation, Origin>& origins() const { return origins_; }
  const Scan& scan() const { return scan_; }
  const Lineage& lineage() const { return lineage_; }
  // Error io: the block is lost, or its payload does not match its checksum.
  Task<Result<>> read(const RebuiltDevice& device, DeviceBlock block, std::span<std::byte> into);

 private:
  Task<Result<>> replay_devices();
  Task<Result<>> replay(const ScannedEntry& scanned);
  void replay_name(const Entry& entry);
  void replay_fork(const Entry& entry);
  Task<Result<>> replay_fork_list(const ScannedEntry& scanned);
  Task<Result<>> replay_attribute(const ScannedEntry& scanned);
  void build_maps();
  static void paint(RebuiltDevice& device, const Entry& entry, Generation generation);
  RebuiltDevice* find(DeviceId id);
  Task<Result<>> read_block(Address address, std::span<std::byte> into);
  Task<Result<>> read_origin(Address address, std::span<std::byte> into);

  Scan scan_;
  std::map<DeviceId, RebuiltDevice> devices_;
  Lineage lineage_;
  Attributes root_;
  std::map<Generation, Origin> origins_;
  OpenImage open_image_;
};

}  // namespace lamina
