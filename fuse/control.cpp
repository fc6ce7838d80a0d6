// SPDX-License-Identifier: Apache-2.0
// The control plane. Errors: invalid, an attribute or a value that there is not; not_found (read as
// ENODATA), one that can only be set; not_permitted, the caller may not.
//
//   device, get   id origin created mapped exclusive shared reserved extents tiers read_only
//                 map@OFFSET: where the ranges from that byte on live, JSON in pieces
//   device, set   read_only
//   root, set     checkpoint sync
//   `user.lamina` alone: all of a device, or of the pool, as JSON
#include "fuse/control.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/executor.h"
#include "fuse/file_system.h"
#include "fuse/status_text.h"

namespace lamina {
namespace {

// Ranges in one answer of map@: some 100 bytes each, and an attribute holds 64 KiB.
constexpr size_t ranges_per_answer = 512;
// Ranges looked at in one step when counting tiers, before others are let through.
constexpr size_t ranges_per_step = 1024;
constexpr std::string_view map_prefix = "map@";

constexpr std::array<std::string_view, 2> root_actions{"checkpoint", "sync"};

struct Getter {
  std::string_view key;
  std::string (*value)(const DeviceInfo&);
};
constexpr std::array<Getter, 9> getters{{
    {"id", [](const DeviceInfo& d) { return std::to_string(raw(d.id)); }},
    {"origin", [](const DeviceInfo& d) { return d.origin_name; }},
    {"created", [](const DeviceInfo& d) { return rfc3339(d.created_ns); }},
    {"mapped", [](const DeviceInfo& d) { return std::to_string(d.mapped_bytes); }},
    // All data is a device's own while there are no snapshots.
    {"exclusive", [](const DeviceInfo& d) { return std::to_string(d.mapped_bytes); }},
    {"shared", [](const DeviceInfo&) { return std::string("0"); }},
    {"reserved", [](const DeviceInfo& d) { return std::to_string(d.reserved_bytes); }},
    {"extents", [](const DeviceInfo& d) { return std::to_string(d.extents); }},
    {"read_only", [](const DeviceInfo& d) { return std::string(d.read_only ? "1" : "0"); }},
}};

Result<bool> parse_switch(std::string_view value) {
  if (value == "0") return false;
  if (value == "1") return true;
  return fail(Code::invalid);
}

}  // namespace

Task<Result<std::string>> FileSystem::get_control(Inode inode, std::string name) {
  const std::string key(control_key(name));
  const std::optional<DeviceId> device = inode_device(inode);
  if (device) {
    Result<DeviceInfo> info = pool_.info(*device);
    if (!info) co_return fail(info.error().code);
    Task<Result<std::string>> getting = get_device_control(std::move(*info), key);
    co_return co_await getting;
  }
  if (inode != Inode::root) co_return fail(Code::invalid);
  if (key.empty() && name == control_name)
    co_return status_json(pool_.status(), features(), options_.process);
  co_return fail(std::ranges::count(root_actions, key) != 0 ? Code::not_found : Code::invalid);
}

Task<Result<std::string>> FileSystem::get_device_control(DeviceInfo info, std::string key) {
  if (key.empty()) co_return device_json(info);
  const auto getter = std::ranges::find(getters, key, &Getter::key);
  if (getter != getters.end()) co_return getter->value(info);
  if (key == "tiers") {
    Task<Result<std::string>> counting = tiers_of(std::move(info));
    co_return co_await counting;
  }
  if (key.starts_with(map_prefix)) {
    Task<Result<std::string>> mapping = map_of(std::move(info), key.substr(map_prefix.size()));
    co_return co_await mapping;
  }
  co_return fail(Code::invalid);
}

// "fast=1048576 bulk=4096": the blobs that hold data of the device, and how much.
Task<Result<std::string>> FileSystem::tiers_of(DeviceInfo info) {
  const std::vector<BlobStatus> blobs = pool_.status().blobs;
  std::vector<uint64_t> bytes(blobs.size());
  if (blobs.size() == 1) {
    bytes[0] = info.mapped_bytes;
  } else {
    DeviceBlock at{0};
    for (bool more = true; more;) {
      Task<Result<std::vector<MappedRange>>> mapping = pool_.map(info.id, at, ranges_per_step);
      const Result<std::vector<MappedRange>> ranges = co_await mapping;
      if (!ranges) co_return fail(ranges.error().code);
      for (const MappedRange& mapped : *ranges)
        if (mapped.state == RangeState::data && raw(mapped.blob) < bytes.size())
          bytes[raw(mapped.blob)] += mapped.range.length().bytes();
      more = ranges->size() == ranges_per_step;
      if (more) {
        at = ranges->back().range.end;
        co_await Yield{};
      }
    }
  }
  std::string text;
  for (size_t i = 0; i < blobs.size(); ++i) {
    if (bytes[i] == 0) continue;
    if (!text.empty()) text += ' ';
    text += blobs[i].name + "=" + std::to_string(bytes[i]);
  }
  co_return text;
}

Task<Result<std::string>> FileSystem::map_of(DeviceInfo info, std::string offset) {
  uint64_t begin = 0;
  const char* const end = offset.data() + offset.size();
  const std::from_chars_result parsed = std::from_chars(offset.data(), end, begin);
  if (parsed.ec != std::errc{} || parsed.ptr != end) co_return fail(Code::invalid);
  const DeviceBlock from{begin / block_size};
  Task<Result<std::vector<MappedRange>>> mapping = pool_.map(info.id, from, ranges_per_answer);
  const Result<std::vector<MappedRange>> ranges = co_await mapping;
  if (!ranges) co_return fail(ranges.error().code);
  co_return map_json(*ranges, pool_.status().blobs, ranges->size() < ranges_per_answer);
}

// The kernel has checked that the caller may write the file. More is needed here: the owner of an
// image may be a guest's user.
bool FileSystem::may_control(const Request& request) const {
  return request.header.uid == 0 || request.header.uid == pool_.root_attributes().uid;
}

Task<Result<>> FileSystem::set_control(const Request& request, std::string name,
                                       std::string value) {
  const Inode inode = request.inode();
  const std::string key(control_key(name));
  const std::optional<DeviceId> device = inode_device(inode);
  const bool known = device ? key == "read_only"
                            : inode == Inode::root && std::ranges::count(root_actions, key) != 0;
  if (!known) co_return fail(Code::invalid);
  if (!may_control(request)) co_return fail(Code::not_permitted);
  const Result<bool> on = parse_switch(value);
  if (!on) co_return fail(Code::invalid);
  if (device) {
    Task<Result<>> setting = pool_.set_read_only(*device, *on);
    co_return co_await setting;
  }
  if (!*on) co_return fail(Code::invalid);
  if (key == "sync") {
    Task<Result<>> syncing = pool_.sync();
    co_return co_await syncing;
  }
  Task<Result<>> checking = pool_.checkpoint();
  co_return co_await checking;
}

}  // namespace lamina
