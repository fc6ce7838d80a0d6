// SPDX-License-Identifier: Apache-2.0
// The control plane. Errors: invalid, an attribute or a value that there is not; not_found (read as
// ENODATA), one that can only be set; not_permitted, the caller may not.
//
//   device, get   id origin created mapped exclusive shared reserved extents tiers read_only
//                 exclusive_age: seconds since exclusive and shared were counted
//                 map@OFFSET: where the ranges from that byte on live, JSON in pieces
//   device, set   read_only
//                 origin_file = PATH: an empty device is read through to the raw image there; also
//                 got, a line for each image that the device may refer to
//                 origin_accept = 1, or PATH where it has been moved: images that have changed are
//                 right as they are now. Of both the status says why the newest was refused. For
//                 root, and who runs the daemon, alone
//                 suspect: bytes of which a repair could not know whether what it found is the
//                 newest; = accept: it is the device's content from now on
//                 tier = BLOB: its data is to lie in the tier of that; auto: anywhere; also got
//                 snapshot snapshot_read_only clone = NAME: makes it; durable when it returns
//                 rollback rollback_force = NAME: becomes as that is
//                 defrag = 1: asks for its extents to be brought into order; the answer comes at
//                 once, status says when they are, or how it ended
//   root, get     for who may set: reverse@OFFSET@BLOB: what lies at that byte of the blob, and
//                 whose it is, JSON
//   root, set     checkpoint sync
//                 walk: asks for exclusive and shared of all devices to be counted anew; the answer
//                 comes at once, status says when they are
//                 age: asks for all data to age as far as the tiers have room; likewise
//                 defrag = 1: of all devices; 0: what is asked for ends after the batch under way
//                 scrub = 1: everything is compared with its checksums, or what is left of it; 0:
//                 it ends after the segment under way. The answer comes at once, status says when
//                 it is done, or how it ended
//                 check = 1: all metadata is looked at, and nothing changed; data: all payload, too;
//                 0: it ends soon. The answer comes at once, status says when it is done, and
//                 .lamina/check.json what was found
//                 grow = BLOB, or * for all: takes in what disks have become larger by
//                 blob_add = lines: the name of a blob, the pool file with it, perhaps "force"
//                 blob_evacuate blob_keep blob_remove = BLOB: it is to leave, or not; it leaves.
//                 blob_remove_lossy = BLOB: it leaves, and what cannot be read there is lost
//                 Evacuating goes on in the background; status says how far it is, and, of all
//                 four, why the newest was refused. For root, and who runs the daemon, alone
//                 snapshot_all snapshot_all_read_only = SUFFIX: of every device, at one point
//                 snapshot_some snapshot_some_read_only = SUFFIX, then a line for each device
//   `user.lamina` alone: all of a device, or of the pool, as JSON
#include "fuse/control.h"

#include <unistd.h>

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
constexpr std::string_view map_prefix = "map@", reverse_prefix = "reverse@";

constexpr std::array<std::string_view, 17> root_actions{"checkpoint",
                                                        "check",
                                                        "sync",
                                                        "age",
                                                        "defrag",
                                                        "scrub",
                                                        "walk",
                                                        "grow",
                                                        "blob_add",
                                                        "blob_evacuate",
                                                        "blob_keep",
                                                        "blob_remove",
                                                        "blob_remove_lossy",
                                                        "snapshot_all",
                                                        "snapshot_all_read_only",
                                                        "snapshot_some",
                                                        "snapshot_some_read_only"};
constexpr std::array<std::string_view, 11> device_actions{
    "tier",           "read_only", "snapshot",    "snapshot_read_only", "clone",  "rollback",
    "rollback_force", "defrag",    "origin_file", "origin_accept",      "suspect"};

struct Getter {
  std::string_view key;
  std::string (*value)(const DeviceInfo&);
};
// Empty: not counted yet.
template <class Value>
std::string of_share(const DeviceInfo& info, Value value) {
  return info.share ? std::to_string(value(*info.share)) : std::string();
}

std::string lines_of(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += (text.empty() ? "" : "\n") + line;
  return text;
}

constexpr std::array<Getter, 13> getters{{
    {"id", [](const DeviceInfo& d) { return std::to_string(raw(d.id)); }},
    {"origin", [](const DeviceInfo& d) { return d.origin_name; }},
    {"origin_file", [](const DeviceInfo& d) { return lines_of(d.origin_files); }},
    {"created", [](const DeviceInfo& d) { return rfc3339(d.created_ns); }},
    {"mapped", [](const DeviceInfo& d) { return std::to_string(d.mapped_bytes); }},
    {"exclusive",
     [](const DeviceInfo& d) {
       return of_share(d, [](const DeviceInfo::Share& s) { return s.exclusive_bytes; });
     }},
    {"shared",
     [](const DeviceInfo& d) {
       return of_share(d, [](const DeviceInfo::Share& s) { return s.shared_bytes; });
     }},
    {"exclusive_age",
     [](const DeviceInfo& d) {
       return of_share(d, [](const DeviceInfo::Share& s) { return s.age_ns / 1'000'000'000; });
     }},
    {"reserved", [](const DeviceInfo& d) { return std::to_string(d.reserved_bytes); }},
    {"extents", [](const DeviceInfo& d) { return std::to_string(d.extents); }},
    {"suspect", [](const DeviceInfo& d) { return std::to_string(d.suspect_bytes); }},
    {"tier", [](const DeviceInfo& d) { return d.pin.empty() ? std::string("auto") : d.pin; }},
    {"read_only", [](const DeviceInfo& d) { return std::string(d.read_only ? "1" : "0"); }},
}};

Result<bool> parse_switch(std::string_view value) {
  if (value == "0") return false;
  if (value == "1") return true;
  return fail(Code::invalid);
}

}  // namespace

Task<Result<std::string>> FileSystem::get_control(const Request& request, std::string name) {
  const Inode inode = request.inode();
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
  if (key.starts_with(reverse_prefix)) {
    if (!may_control(request)) co_return fail(Code::not_permitted);  // it walks all maps
    Task<Result<std::string>> searching = reverse_of(key.substr(reverse_prefix.size()));
    co_return co_await searching;
  }
  co_return fail(std::ranges::count(root_actions, key) != 0 ? Code::not_found : Code::invalid);
}

Task<Result<std::string>> FileSystem::get_device_control(DeviceInfo info, std::string key) {
  if (key.empty()) {
    const std::vector<BlobStatus> blobs = pool_.status().blobs;
    Task<Result<Placement>> placing = placement_of(info, blobs);
    const Result<Placement> placed = co_await placing;
    if (!placed) co_return fail(placed.error().code);
    co_return device_json(info, placed->stored);
  }
  const auto getter = std::ranges::find(getters, key, &Getter::key);
  if (getter != getters.end()) co_return getter->value(info);
  if (std::ranges::count(device_actions, key) != 0) co_return fail(Code::not_found);
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

// Where all blobs are alike nobody has to look.
Task<Result<FileSystem::Placement>> FileSystem::placement_of(DeviceInfo info,
                                                             const std::vector<BlobStatus>& blobs) {
  Placement placed;
  placed.bytes.resize(blobs.size());
  if (blobs.size() == 1) {
    placed.bytes[0] = placed.stored = info.mapped_bytes;
    co_return placed;
  }
  DeviceBlock at{0};
  for (bool more = true; more;) {
    Task<Result<std::vector<MappedRange>>> mapping = pool_.map(info.id, at, ranges_per_step);
    const Result<std::vector<MappedRange>> ranges = co_await mapping;
    if (!ranges) co_return fail(ranges.error().code);
    for (const MappedRange& mapped : *ranges) {
      if (mapped.state != RangeState::data) continue;
      const auto blob = std::ranges::find(blobs, mapped.blob, &BlobStatus::id);
      if (blob == blobs.end()) continue;
      placed.bytes[static_cast<size_t>(blob - blobs.begin())] += mapped.range.length().bytes();
      placed.stored += mapped.stored_blocks * block_size;
    }
    more = ranges->size() == ranges_per_step;
    if (more) {
      at = ranges->back().range.end;
      co_await Yield{};
    }
  }
  co_return placed;
}

// "fast=1048576 bulk=4096": the blobs that hold data of the device, and how much.
Task<Result<std::string>> FileSystem::tiers_of(DeviceInfo info) {
  const std::vector<BlobStatus> blobs = pool_.status().blobs;
  Task<Result<Placement>> placing = placement_of(std::move(info), blobs);
  const Result<Placement> placed = co_await placing;
  if (!placed) co_return fail(placed.error().code);
  const std::vector<uint64_t>& bytes = placed->bytes;
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

// "OFFSET@BLOB".
Task<Result<std::string>> FileSystem::reverse_of(std::string place) {
  uint64_t offset = 0;
  const char* const end = place.data() + place.size();
  const std::from_chars_result parsed = std::from_chars(place.data(), end, offset);
  if (parsed.ec != std::errc{} || parsed.ptr == end || *parsed.ptr != '@')
    co_return fail(Code::invalid);
  Task<Result<MediumPlace>> searching = pool_.reverse(std::string(parsed.ptr + 1, end), offset);
  Result<MediumPlace> found = co_await searching;
  if (!found) co_return forward_error(found);
  co_return medium_place_json(*found);
}

// The kernel has checked that the caller may write the file. More is needed here: the owner of an
// image may be a guest's user.
bool FileSystem::may_control(const Request& request) const {
  return request.header.uid == 0 || request.header.uid == pool_.root_attributes().uid;
}

// A daemon of root opens, formats and wipes disks, and reads images, that the owner of the root
// directory may not.
bool FileSystem::may_open_paths(const Request& request) const {
  return request.header.uid == 0 || request.header.uid == geteuid();
}

Task<Result<>> FileSystem::set_control(const Request& request, std::string name,
                                       std::string value) {
  const Inode inode = request.inode();
  const std::string key(control_key(name));
  const std::optional<DeviceId> device = inode_device(inode);
  const bool known = device ? std::ranges::count(device_actions, key) != 0
                            : inode == Inode::root && std::ranges::count(root_actions, key) != 0;
  if (!known) co_return fail(Code::invalid);
  const bool opens_paths = key.starts_with("blob_") || key.starts_with("origin_");
  if (opens_paths ? !may_open_paths(request) : !may_control(request))
    co_return fail(Code::not_permitted);
  Task<Result<>> setting = device ? set_device_control(*device, key, std::move(value))
                                  : set_root_control(key, std::move(value));
  co_return co_await setting;
}

Task<Result<>> FileSystem::set_device_control(DeviceId device, std::string key, std::string value) {
  if (key == "read_only") {
    const Result<bool> on = parse_switch(value);
    if (!on) co_return fail(Code::invalid);
    Task<Result<>> setting = pool_.set_read_only(device, *on);
    co_return co_await setting;
  }
  if (key == "tier") {
    Task<Result<>> pinning = pool_.pin(device, value == "auto" ? std::string() : value);
    co_return co_await pinning;
  }
  if (key == "suspect") {
    if (value != "accept") co_return fail(Code::invalid);
    Task<Result<>> accepting = pool_.accept_suspect(device);
    co_return co_await accepting;
  }
  if (key.starts_with("origin_")) {
    Task<Result<>> changing = change_origin(device, key, std::move(value));
    co_return co_await changing;
  }
  if (key == "defrag") {
    const Result<bool> on = parse_switch(value);
    if (!on || !*on) co_return fail(Code::invalid);
    co_return pool_.ask_defrag(device);
  }
  if (key.starts_with("rollback")) {
    Task<Result<>> rolling = roll_back(device, std::move(value), key == "rollback_force");
    co_return co_await rolling;
  }
  std::vector<Pool::Fork> forks;
  forks.push_back({device, std::move(value)});
  Task<Result<>> forking = fork(std::move(forks), key == "snapshot_read_only");
  co_return co_await forking;
}

Task<Result<>> FileSystem::roll_back(DeviceId device, std::string name, bool force) {
  LAMINA_CO_TRY(check_device_name(name));
  const Result<DeviceInfo> source = pool_.find(name);
  if (!source) co_return fail(Code::not_found);
  if (force) {
    // Pages that somebody has mapped and changed belong to the old content: they may not be written
    // after the rollback. What is not open has none.
    Task<void> writing = options_.write_back(device);
    co_await writing;
  }
  Task<Result<>> rolling = pool_.roll_back(device, source->id, force);
  LAMINA_CO_TRY(co_await rolling);
  Task<Result<>> flushing = pool_.flush(device);
  co_return co_await flushing;
}

Task<Result<>> FileSystem::change_origin(DeviceId device, std::string key, std::string value) {
  if (key == "origin_accept" && value == "1") return pool_.accept_origin(device, "");
  Result<> outside;
  if (options_.check_outside) outside = options_.check_outside(value);
  if (outside && key == "origin_file") return pool_.set_origin(device, std::move(value));
  if (outside) return pool_.accept_origin(device, std::move(value));
  pool_.note_origin_refused(outside);
  return [](Result<> refused) -> Task<Result<>> { co_return refused; }(std::move(outside));
}

Task<Result<>> FileSystem::set_root_control(std::string key, std::string value) {
  if (key.starts_with("snapshot")) {
    auto forks = key.starts_with("snapshot_all") ? forks_of_all(value) : forks_of_some(value);
    if (!forks) co_return forward_error(forks);
    Task<Result<>> forking = fork(std::move(*forks), key.ends_with("_read_only"));
    co_return co_await forking;
  }
  if (key == "grow") {
    Task<Result<std::vector<GrownBlob>>> growing = pool_.grow(value == "*" ? "" : value);
    auto grown = co_await growing;
    if (!grown) co_return forward_error(grown);
    co_return Result<>{};
  }
  if (key.starts_with("blob_")) {
    Task<Result<>> changing = change_members(key, std::move(value));
    co_return co_await changing;
  }
  if (key == "check" && value == "data") {
    pool_.ask_check(true);
    co_return Result<>{};
  }
  const Result<bool> on = parse_switch(value);
  if (on && key == "check") {
    if (*on)
      pool_.ask_check(false);
    else
      pool_.stop_check();
    co_return Result<>{};
  }
  if (on && !*on && key == "defrag") {
    pool_.stop_defrag();
    co_return Result<>{};
  }
  if (on && !*on && key == "scrub") {
    pool_.stop_scrub();
    co_return Result<>{};
  }
  if (!on || !*on) co_return fail(Code::invalid);
  // Not waited for: the kernel keeps the root directory locked meanwhile.
  if (key == "walk") co_return pool_.ask_shares();
  if (key == "age") co_return pool_.ask_aging();
  if (key == "defrag") co_return pool_.ask_defrag(DeviceId::none);
  if (key == "scrub") co_return pool_.ask_scrub();
  Task<Result<>> doing = key == "sync" ? pool_.sync() : pool_.checkpoint();
  co_return co_await doing;
}

Task<Result<>> FileSystem::change_members(std::string key, std::string value) {
  if (key == "blob_evacuate") return pool_.evacuate(std::move(value));
  if (key == "blob_keep") return pool_.keep(std::move(value));
  if (key == "blob_remove") return pool_.remove_blob(std::move(value));
  if (key == "blob_remove_lossy") return pool_.remove_blob(std::move(value), true);
  if (options_.add_blob) return options_.add_blob(std::move(value));
  return []() -> Task<Result<>> { co_return fail(Code::unsupported); }();
}

Result<std::vector<Pool::Fork>> FileSystem::forks_of_all(const std::string& suffix) {
  if (suffix.empty()) return fail(Code::invalid);
  std::vector<Pool::Fork> forks;
  for (const DeviceInfo& info : pool_.list()) forks.push_back({info.id, info.name + suffix});
  if (forks.empty()) return fail(Code::not_found);
  return forks;
}

// Names have no line ends in them.
Result<std::vector<Pool::Fork>> FileSystem::forks_of_some(const std::string& value) {
  std::vector<Pool::Fork> forks;
  const size_t first = value.find('\n');
  if (first == 0 || first == std::string::npos) return fail(Code::invalid);
  const std::string suffix = value.substr(0, first);
  for (size_t at = first + 1; at < value.size();) {
    const size_t end = std::min(value.find('\n', at), value.size());
    const std::string name = value.substr(at, end - at);
    LAMINA_TRY(check_device_name(name));
    const Result<DeviceInfo> info = pool_.find(name);
    if (!info) return fail(Code::not_found);
    forks.push_back({info->id, name + suffix});
    at = end + 1;
  }
  if (forks.empty()) return fail(Code::invalid);
  return forks;
}

// A snapshot is durable when its maker is answered.
Task<Result<>> FileSystem::fork(std::vector<Pool::Fork> forks, bool read_only) {
  Task<Result<std::vector<DeviceInfo>>> forking = pool_.fork(std::move(forks), read_only);
  Result<std::vector<DeviceInfo>> made = co_await forking;
  if (!made) co_return forward_error(made);
  Task<Result<>> flushing = pool_.flush(made->front().id);
  co_return co_await flushing;
}

}  // namespace lamina
