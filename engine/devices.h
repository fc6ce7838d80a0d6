// SPDX-License-Identifier: Apache-2.0
// The devices of a pool: names, sizes, attributes and maps, and what each entry of the log does to
// them. Live operations and roll-forward go through the same apply(), so that they cannot differ.
// Thread-safety: the order lock guards everything here but the maps, which have locks of their own.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "blobs/entry.h"
#include "blobs/origin.h"
#include "engine/lineage.h"
#include "engine/pool.h"
#include "engine/range_locks.h"
#include "engine/thin_map.h"

namespace lamina {

// What a device wrote into the segment that the log is in, and into the one before.
class RecentBytes {
 public:
  void add(uint64_t ordinal, uint64_t bytes) {
    if (ordinal != ordinal_) {
      before_ = ordinal == ordinal_ + 1 ? now_ : 0;
      now_ = 0;
      ordinal_ = ordinal;
    }
    now_ += bytes;
  }
  uint64_t at(uint64_t ordinal) const {
    return ordinal == ordinal_ ? now_ + before_ : ordinal == ordinal_ + 1 ? now_ : 0;
  }

 private:
  uint64_t ordinal_ = 0, now_ = 0, before_ = 0;
};

struct Device {
  explicit Device(DeviceId device_id) : id(device_id) {}

  const DeviceId id;
  std::string name;  // empty: unlinked, lives until the last close
  uint64_t size_bytes = 0;
  Attributes attributes;
  std::map<std::string, std::string, std::less<>> xattrs;
  uint64_t created_ns = 0;
  bool read_only = false;
  DeviceId origin = DeviceId::none;
  uint64_t reserved_blocks = 0;  // the counter of D8; changed by Devices alone
  uint64_t erased_blocks = 0;    // since the last cut: what its tree may have had there, at most
  // The newest entries at which somebody else who is still there began to share its nodes, its
  // extents. Larger than true after a removal, until the next cut: that is the safe side.
  Sequence last_fork = 0, last_share = 0;
  // The newest copy that it, or a relative that is gone, took part in: no less than this is
  // last_share, until somebody who has looked at all maps says that none holds an alias (D3).
  Sequence last_copy = 0;
  // External origins that its map may refer to (C7).
  std::set<Generation> origins;
  std::shared_ptr<ThinMap> map;

  // Of this life only.
  // What the newest walk that knew the device found that it had, in blocks of data; of `map`.
  struct Figures {
    MapId map = MapId::none;
    uint64_t mapped = 0, exclusive = 0, walked_ns = 0;
  } figures;
  // A walk found that at this cut nobody else had anything of it; what has been shared since counts
  // alone (D3).
  Sequence alone_at = 0;
  void found_alone(Sequence cut);
  Sequence last_change = 0;  // newest entry that concerns it: what its flush has to wait for
  RecentBytes recent;
  uint32_t open = 0, open_for_writing = 0;
  RangeLocks locks;
};

using DevicePtr = std::shared_ptr<Device>;

class Devices {
 public:
  // Does what the entry says. `generation`: of the segment that the entry lies in; `wall_ns`: of
  // its record. `payload`: of entries that carry some other than data (attribute values). Error
  // corrupt: it cannot follow from what is known; for live operations that is a bug.
  Result<> apply(const Entry& entry, Generation generation, uint64_t wall_ns,
                 std::span<const std::byte> payload);

  DevicePtr find(std::string_view name) const;
  DevicePtr find(DeviceId id) const;
  ThinMap* find_map(MapId id) const;
  // Of a device, or of the root directory; null: there is no such device.
  const std::map<std::string, std::string, std::less<>>* xattrs_of(DeviceId id) const;
  size_t count() const { return by_id_.size(); }
  DeviceId next_device() const { return DeviceId{next_device_}; }
  MapId next_map() const { return MapId{next_map_}; }

  template <class Visit>
  void for_each(Visit visit) const {
    for (const auto& [id, device] : by_id_) visit(device);
  }

  // Of a checkpoint's tables.
  void restore(DevicePtr device);
  void restore_marks(DeviceId next_device, MapId next_map);
  void restore_origins(std::map<Generation, Origin> recorded, Generation next);
  // After removals: what the survivors still share, and with whom (D3).
  void refresh_shares();
  // What new maps start from; set before the first apply() and at each checkpoint.
  void set_image(ImagePtr image) { image_ = std::move(image); }

  // External origins that somebody refers to, or did at the newest cut.
  const std::map<Generation, Origin>& origins() const { return origins_; }
  Generation next_origin() const { return Generation{next_origin_}; }
  // Those that nobody refers to any more are none; the rest.
  std::set<Generation> forget_origins();

  Attributes root;
  std::map<std::string, std::string, std::less<>> root_xattrs;
  Lineage lineage;
  std::vector<LostRange> lost;
  std::vector<LostRange> suspect() const;  // of all maps, as they are now (B2)
  // That trees of devices which are gone had; and that trees may have had where something was erased,
  // at most. Both since somebody counted them, at a cut.
  uint64_t dropped_blocks = 0, erased_blocks = 0;
  // Of all devices (D8). May be read without the lock.
  std::atomic<uint64_t> reserved_blocks{0};

 private:
  Result<> apply_range(const Entry& entry, Generation generation, uint64_t wall_ns);
  void set_reserved(Device& device, uint64_t blocks);
  void note_erased(Device& device, BlockCount length);
  void note_copy(Device& target, const Entry& entry);
  void inherit_copies();
  Result<> apply_name(const Entry& entry);
  Result<> create(const Entry& entry, uint64_t wall_ns);
  Result<> new_map(const Entry& entry, uint64_t wall_ns);
  void forget_map(const Device& device);
  Result<> fork(const Entry& entry, uint64_t wall_ns);
  Result<> fork_several(const Entry& entry, uint64_t wall_ns, std::span<const std::byte> payload);
  std::shared_ptr<ThinMap> fork_map(Device& source, MapId map, DeviceId device, Sequence at);
  Result<> note_origin(const Entry& entry);
  Result<> attribute(const Entry& entry, std::span<const std::byte> payload);

  std::map<DeviceId, DevicePtr> by_id_;
  std::map<std::string, DevicePtr, std::less<>> by_name_;
  std::unordered_map<uint64_t, DevicePtr> by_map_;
  uint64_t next_device_ = 2;  // 1 is the root directory's inode
  uint64_t next_map_ = 1;
  std::map<Generation, Origin> origins_;
  uint32_t next_origin_ = first_origin_generation;
  std::vector<std::pair<MapId, Sequence>> copied_;  // maps that are gone, and their last copies
  bool shares_stale_ = true;  // a map is gone that others may have shared with
  ImagePtr image_;
};

// The `value` of create and metadata entries.
std::string pack_attributes(const Attributes& attributes, bool read_only);
struct UnpackedAttributes {
  Attributes attributes;
  bool read_only = false;
};
Result<UnpackedAttributes> unpack_attributes(std::string_view value);

// Entries about the root directory name this device.
inline constexpr DeviceId root_device{1};

}  // namespace lamina
