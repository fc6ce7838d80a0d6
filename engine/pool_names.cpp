// SPDX-License-Identifier: Apache-2.0
// Names of devices, their attributes, and who has them open.
#include <algorithm>

#include "engine/pool_state.h"

namespace lamina {
namespace {

using StepEntry = PoolState::StepEntry;
using Steps = Result<std::vector<StepEntry>>;

Steps one(Entry entry, std::string payload = {}) {
  std::vector<StepEntry> list;
  list.push_back({std::move(entry), std::move(payload)});
  return list;
}

std::optional<DeviceInfo::Share> share_of(const Device& d, uint64_t mapped_bytes, uint64_t now_ns) {
  if (d.last_share == 0) return DeviceInfo::Share{mapped_bytes, 0, 0};
  const Device::Figures& f = d.figures;
  if (f.map != d.map->id()) return std::nullopt;
  return DeviceInfo::Share{f.exclusive * block_size, (f.mapped - f.exclusive) * block_size,
                           now_ns - f.walked_ns};
}

DeviceInfo info_of(const Devices& devices, const Device& d, uint64_t now_ns) {
  DeviceInfo info;
  info.id = d.id;
  info.name = d.name;
  info.size_bytes = d.size_bytes;
  info.attributes = d.attributes;
  info.created_ns = d.created_ns;
  info.read_only = d.read_only;
  if (const auto pin = d.xattrs.find(tier_attribute); pin != d.xattrs.end()) info.pin = pin->second;
  info.origin = d.origin;
  info.shares = d.last_share > 0;
  if (const DevicePtr origin = devices.find(d.origin)) info.origin_name = origin->name;
  const ThinMap::Size size = d.map->size();
  info.mapped_bytes = std::min(size.mapped_blocks * block_size, round_up(d.size_bytes, block_size));
  info.share = share_of(d, info.mapped_bytes, now_ns);
  info.extents = size.extents;
  for (const Generation generation : d.origins)
    if (const auto origin = devices.origins().find(generation); origin != devices.origins().end())
      info.origin_files.push_back(origin->second.path);
  info.reserved_bytes = d.reserved_blocks * block_size;
  for (const BlockRange& range : d.map->suspect()) info.suspect_bytes += range.length().bytes();
  return info;
}

bool valid_utf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const auto c = static_cast<unsigned char>(text[i]);
    const size_t length = c < 0x80                ? 1
                          : c >= 0xc2 && c < 0xe0 ? 2
                          : c >= 0xe0 && c < 0xf0 ? 3
                          : c >= 0xf0 && c < 0xf5 ? 4
                                                  : 0;
    if (length == 0 || i + length > text.size()) return false;
    for (size_t k = 1; k < length; ++k)
      if ((static_cast<unsigned char>(text[i + k]) & 0xc0) != 0x80) return false;
    const auto second = length > 1 ? static_cast<unsigned char>(text[i + 1]) : 0;
    // Overlong forms, surrogates, and past U+10FFFF.
    if ((c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) ||
        (c == 0xf0 && second < 0x90) || (c == 0xf4 && second > 0x8f))
      return false;
    i += length;
  }
  return true;
}

Entry entry_for(EntryKind kind, const Device& device) {
  Entry entry;
  entry.kind = kind;
  entry.device = device.id;
  entry.name = device.name;
  return entry;
}

Entry drop_of(const Device& device) {
  Entry entry;
  entry.kind = EntryKind::drop;
  entry.device = device.id;
  entry.map = device.map->id();
  return entry;
}

}  // namespace

Result<> check_device_name(std::string_view name) {
  if (name.size() > max_name_bytes)
    return fail(Code::name_too_long, "a name has at most 255 bytes");
  const bool control = std::any_of(name.begin(), name.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '/';
  });
  if (name.empty() || control || name == "." || name == ".." || !valid_utf8(name))
    return fail(Code::invalid, "a name is UTF-8 without control characters");
  if (name.starts_with(".lamina"))
    return fail(Code::invalid, "names that begin with .lamina are reserved");
  return {};
}

Result<DeviceInfo> Pool::find(std::string_view name) {
  PoolState& s = *state_;
  Lock order(s.log.order());
  const DevicePtr device = s.devices.find(name);
  if (!device) return fail(Code::not_found);
  return info_of(s.devices, *device, s.settings.background->now_ns());
}

Result<DeviceInfo> Pool::info(DeviceId id) {
  PoolState& s = *state_;
  bool stale = false;
  Result<DeviceInfo> info;
  {
    Lock order(s.log.order());
    const DevicePtr device = s.devices.find(id);
    if (!device) return fail(Code::not_found);
    info = info_of(s.devices, *device, s.settings.background->now_ns());
    stale = device->map->size().worth_merging(device->erased_blocks);
  }
  // Whoever asks how much it holds gets it exactly the next time.
  if (stale && !s.settings.read_only) s.start_checkpoint();
  return info;
}

std::vector<DeviceInfo> Pool::list() {
  PoolState& s = *state_;
  std::vector<DeviceInfo> all;
  Lock order(s.log.order());
  s.devices.for_each([&](const DevicePtr& device) {
    if (!device->name.empty())
      all.push_back(info_of(s.devices, *device, s.settings.background->now_ns()));
  });
  return all;
}

Task<Result<DeviceInfo>> Pool::create(std::string name, uint64_t size_bytes,
                                      Attributes attributes) {
  PoolState& s = *state_;
  LAMINA_CO_TRY(check_device_name(name));
  if (size_bytes > max_device_bytes) co_return fail(Code::too_big, "a device has at most 1 PiB");
  DeviceId id = DeviceId::none;
  const auto check_free = [&s, &name]() -> Result<> {
    if (s.devices.find(name)) return fail(Code::exists, "a device of that name exists");
    return {};
  };
  {
    // First of all, so that a full pool says so only to whoever asks for something new.
    Lock order(s.log.order());
    LAMINA_CO_TRY(check_free());
  }
  auto made = co_await s.step(Claim::user, 0, [&]() -> Steps {
    LAMINA_TRY(check_free());
    if (s.devices.count() >= max_devices) return fail(Code::no_space, "the pool has 65536 devices");
    Entry entry;
    entry.kind = EntryKind::create;
    entry.device = id = s.devices.next_device();
    entry.map = s.devices.next_map();
    entry.name = name;
    entry.size_bytes = size_bytes;
    entry.value = pack_attributes(attributes, false);
    return one(std::move(entry));
  });
  if (!made) co_return forward_error(made);
  co_return info(id);
}

Task<Result<>> Pool::remove(std::string name) {
  PoolState& s = *state_;
  co_return co_await s.step(Claim::log, 0, [&]() -> Steps {
    const DevicePtr device = s.devices.find(name);
    if (!device) return fail(Code::not_found);
    std::vector<StepEntry> list;
    list.push_back({entry_for(EntryKind::unlink, *device), {}});
    if (device->open == 0) list.push_back({drop_of(*device), {}});
    return list;
  });
}

Task<Result<>> Pool::rename(std::string from, std::string to, bool replace) {
  PoolState& s = *state_;
  LAMINA_CO_TRY(check_device_name(to));
  co_return co_await s.step(Claim::log, 0, [&]() -> Steps {
    const DevicePtr device = s.devices.find(from);
    if (!device) return fail(Code::not_found);
    const DevicePtr replaced = s.devices.find(to);
    if (replaced && !replace) return fail(Code::exists, "a device of that name exists");
    if (from == to) return std::vector<StepEntry>{};
    std::vector<StepEntry> list;
    Entry entry = entry_for(EntryKind::rename, *device);
    entry.name2 = to;
    list.push_back({std::move(entry), {}});
    if (replaced && replaced->open == 0) list.push_back({drop_of(*replaced), {}});
    return list;
  });
}

Result<> Pool::open_device(DeviceId id, bool for_writing) {
  return state_->open_device(id, for_writing);
}

Task<Result<>> Pool::close_device(DeviceId id, bool for_writing) {
  return state_->close_device(id, for_writing);
}

Result<> PoolState::open_device(DeviceId id, bool for_writing) {
  Lock order(log.order());
  const DevicePtr device = devices.find(id);
  if (!device) return fail(Code::not_found);
  if (for_writing && (device->read_only || settings.read_only))
    return fail(Code::read_only, "the device is read-only");
  ++device->open;
  if (for_writing) ++device->open_for_writing;
  return {};
}

Task<Result<>> PoolState::close_device(DeviceId id, bool for_writing) {
  {
    Lock order(log.order());
    const DevicePtr device = devices.find(id);
    if (!device || device->open == 0) co_return fail(Code::not_found);
    --device->open;
    if (for_writing) --device->open_for_writing;
    if (device->open > 0 || !device->name.empty()) co_return Result<>{};
  }
  co_return co_await step(Claim::log, 0, [&]() -> Steps {
    const DevicePtr device = devices.find(id);
    if (!device || device->open > 0 || !device->name.empty()) return std::vector<StepEntry>{};
    return one(drop_of(*device));
  });
}

Task<Result<>> Pool::set_attributes(DeviceId id, Attributes attributes) {
  PoolState& s = *state_;
  co_return co_await s.step(Claim::log, 0, [&]() -> Steps {
    const DevicePtr device = s.devices.find(id);
    if (!device) return fail(Code::not_found);
    Entry entry;
    entry.kind = EntryKind::metadata;
    entry.device = id;
    entry.value = pack_attributes(attributes, device->read_only);
    return one(std::move(entry));
  });
}

Task<Result<>> Pool::set_read_only(DeviceId id, bool read_only) {
  PoolState& s = *state_;
  co_return co_await s.step(Claim::log, 0, [&]() -> Steps {
    const DevicePtr device = s.devices.find(id);
    if (!device) return fail(Code::not_found);
    if (read_only && device->open_for_writing > 0)
      return fail(Code::busy, "the device is open for writing");
    if (device->read_only == read_only) return std::vector<StepEntry>{};
    Entry entry;
    entry.kind = EntryKind::metadata;
    entry.device = id;
    entry.value = pack_attributes(device->attributes, read_only);
    return one(std::move(entry));
  });
}

Attributes Pool::root_attributes() {
  PoolState& s = *state_;
  Lock order(s.log.order());
  return s.devices.root;
}

Task<Result<>> Pool::set_root_attributes(Attributes attributes) {
  PoolState& s = *state_;
  co_return co_await s.step(Claim::log, 0, [&]() -> Steps {
    Entry entry;
    entry.kind = EntryKind::metadata;
    entry.device = root_device;
    entry.value = pack_attributes(attributes, false);
    return one(std::move(entry));
  });
}

// ---------------------------------------------------------------- extended attributes

Result<std::string> Pool::get_xattr(DeviceId id, std::string_view name) {
  PoolState& s = *state_;
  Lock order(s.log.order());
  const auto* xattrs = s.devices.xattrs_of(id);
  if (!xattrs) return fail(Code::not_found);
  const auto found = xattrs->find(name);
  if (found == xattrs->end()) return fail(Code::not_found);
  return found->second;
}

std::vector<std::string> Pool::list_xattrs(DeviceId id) {
  PoolState& s = *state_;
  std::vector<std::string> names;
  Lock order(s.log.order());
  if (const auto* xattrs = s.devices.xattrs_of(id))
    for (const auto& [name, value] : *xattrs)
      if (name != tier_attribute) names.push_back(name);
  return names;
}

Task<Result<>> Pool::set_xattr(DeviceId id, std::string name, std::string value, bool create,
                               bool replace) {
  PoolState& s = *state_;
  if (name.empty() || name.size() > max_name_bytes)
    co_return fail(Code::invalid, "an attribute's name has 1 to 255 bytes");
  if (value.size() > max_xattr_value_bytes)
    co_return fail(Code::too_big, "an attribute's value has at most 64 KiB");
  constexpr size_t inline_limit = 512;
  const bool outside = value.size() > inline_limit;
  const auto blocks = static_cast<uint32_t>(outside ? div_up(value.size(), block_size) : 0);
  co_return co_await s.step(Claim::user, blocks, [&]() -> Steps {
    const auto* xattrs = s.devices.xattrs_of(id);
    if (!xattrs) return fail(Code::not_found);
    const auto found = xattrs->find(name);
    if (create && found != xattrs->end()) return fail(Code::exists, "the attribute exists");
    if (replace && found == xattrs->end()) return fail(Code::not_found);
    size_t total = name.size() + value.size();
    for (const auto& [other, its_value] : *xattrs)
      if (other != name) total += other.size() + its_value.size();
    if (total > max_xattrs_bytes)
      return fail(Code::no_space, "the attributes of a device have at most 128 KiB");
    Entry entry;
    entry.kind = EntryKind::attribute;
    entry.device = id;
    entry.name = name;
    if (outside) entry.size_bytes = value.size();  // an inline value tells its own length
    entry.length = {blocks};
    if (!outside) {
      entry.value = value;
      return one(std::move(entry));
    }
    entry.size_bytes = value.size();
    entry.length = {blocks};
    return one(std::move(entry), value);
  });
}

Task<Result<>> Pool::pin(DeviceId id, std::string blob) {
  PoolState& s = *state_;
  const Blobs members = s.blobs();
  const bool known = std::ranges::any_of(
      members, [&](const auto& one) { return one->superblock().blob_name == blob; });
  if (!blob.empty() && !known)
    co_return fail(Code::invalid, "no blob of the pool is called \"" + blob + "\"");
  Result<> set;
  if (blob.empty())
    set = co_await remove_xattr(id, std::string(tier_attribute));
  else
    set = co_await set_xattr(id, std::string(tier_attribute), blob, false, false);
  if (!set && blob.empty() && set.error().code == Code::not_found && info(id)) set = Result<>{};
  if (set) s.start_following_pins();
  co_return set;
}

Task<Result<>> Pool::remove_xattr(DeviceId id, std::string name) {
  PoolState& s = *state_;
  co_return co_await s.step(Claim::log, 0, [&]() -> Steps {
    const auto* xattrs = s.devices.xattrs_of(id);
    if (!xattrs || !xattrs->contains(name)) return fail(Code::not_found);
    Entry entry;
    entry.kind = EntryKind::attribute;
    entry.device = id;
    entry.name = name;
    entry.removed = true;
    return one(std::move(entry));
  });
}

}  // namespace lamina
