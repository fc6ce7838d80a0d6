// SPDX-License-Identifier: Apache-2.0
#include "fuse/status_text.h"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

namespace lamina {
namespace {

using Json = nlohmann::ordered_json;

std::string dump(const Json& json) {
  // Names are UTF-8 by check_device_name(); paths of blobs need not be.
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

std::string_view state_name(RangeState state) {
  switch (state) {
    case RangeState::data:
      return "data";
    case RangeState::zero:
      return "zero";
    case RangeState::hole:
      return "hole";
    case RangeState::reserved:
      return "reserved";
    case RangeState::lost:
      return "lost";
  }
  return "unknown";
}

// How many times what it takes the data is; what is not compressed takes what it is.
double ratio_of(const BlobStatus& blob) {
  const uint64_t taken = blob.data_bytes - blob.saved_bytes;
  if (taken == 0) return 1;
  return static_cast<double>(blob.data_bytes * 100 / taken) / 100;
}

std::string_view state_of(const BlobStatus& blob) {
  return blob.use == BlobUse::leaving && blob.used == 0 ? "empty" : name_of(blob.use);
}

Json evacuation_json(const EvacuationStatus& evacuation) {
  using State = EvacuationStatus::State;
  if (evacuation.state == State::none) return {};
  const std::string_view state = evacuation.state == State::running ? "running"
                                 : evacuation.state == State::empty ? "empty"
                                                                    : "stopped";
  return {{"blob", evacuation.blob},
          {"state", state},
          {"why", evacuation.why},
          {"left_bytes", evacuation.left_bytes},
          {"left_segments", evacuation.left_segments}};
}

Json blob_json(const BlobStatus& blob) {
  return {{"name", blob.name},
          {"kind", name_of(blob.kind)},
          {"tier", blob.tier},
          {"path", blob.path},
          {"size", blob.size},
          {"used", blob.used},
          {"free", blob.free},
          {"data_bytes", blob.data_bytes},
          {"saved_bytes", blob.saved_bytes},
          {"ratio", ratio_of(blob)},
          {"health", blob.health},
          {"state", state_of(blob)},
          {"disk_size", blob.disk_size},
          {"segment_bytes", blob.segment_bytes},
          {"segments_free", blob.segments_free},
          {"segments_total", blob.segments_total},
          {"block_device", blob.traits.block_device},
          {"rotational", blob.traits.rotational},
          {"write_cache", blob.traits.write_cache},
          {"optimal_io_bytes", blob.traits.optimal_io_bytes},
          {"discard_granularity", blob.traits.discard_granularity}};
}

Json origins_json(const std::vector<OriginStatus>& origins) {
  Json all = Json::array();
  for (const OriginStatus& origin : origins)
    all.push_back({{"path", origin.path},
                   {"size", origin.size_bytes},
                   {"devices", origin.devices},
                   {"health", origin.health}});
  return all;
}

Json kernel_json(const KernelFeatures& kernel, const ProcessStatus& process) {
  Json features = Json::object();
  for (size_t i = 0; i < feature_count; ++i) {
    const std::string name(feature_name(static_cast<Feature>(i)));
    features[name] = kernel.used[i] ? "used" : kernel.offered[i] ? "off" : "not offered";
  }
  return {{"protocol",
           std::to_string(kernel.protocol_major) + "." + std::to_string(kernel.protocol_minor)},
          {"max_request_bytes", kernel.max_request_bytes},
          {"max_background", kernel.max_background},
          {"features", features},
          {"io_flusher", process.io_flusher},
          {"memory_locked", process.memory_locked},
          {"oom_protected", process.oom_protected},
          {"process_note", process.why_not}};
}

// Seconds; null: none yet.
Json age(uint64_t age_ns) {
  if (age_ns == UINT64_MAX) return nullptr;
  return age_ns / 1'000'000'000;
}

Json walk_json(const WalkStatus& walk) {
  return {{"age_s", age(walk.age_ns)}, {"complete", walk.complete},
          {"running", walk.running},   {"done", walk.done},
          {"all", walk.all},           {"asked", walk.asked},
          {"answered", walk.answered}, {"took_s", static_cast<double>(walk.taken_ns) / 1e9},
          {"extents", walk.extents},   {"passes", walk.passes}};
}

Json scrub_json(const ScrubStatus& scrub) {
  const auto seconds = [](uint64_t ns) { return ns == 0 ? Json() : Json(ns / 1'000'000'000); };
  return {{"state", scrub.running     ? "running"
                    : scrub.under_way ? "stopped"
                                      : "idle"},
          {"asked", scrub.asked},
          {"answered", scrub.answered},
          {"done_bytes", scrub.done_bytes},
          {"all_bytes", scrub.all_bytes},
          {"bad_bytes", scrub.bad_bytes},
          {"verified_bytes", scrub.verified_bytes},
          {"zeroes_dropped", scrub.zeroes_dropped},
          {"began_s", seconds(scrub.began_ns)},
          {"ended_s", seconds(scrub.ended_ns)},
          {"ended", scrub.ended.empty() ? Json() : Json(scrub.ended)}};
}

Json check_json(const CheckStatus& check) {
  return {{"asked", check.asked},
          {"answered", check.answered},
          {"running", check.running},
          {"data", check.data},
          {"doing", check.doing.empty() ? Json() : Json(check.doing)},
          {"done", check.done},
          {"all", check.all},
          {"segments", check.segments},
          {"devices", check.devices},
          {"ranges", check.ranges},
          {"nodes", check.nodes},
          {"verified_bytes", check.verified_bytes},
          {"found", check.findings},
          {"ended", check.ended.empty() ? Json() : Json(check.ended)}};
}

Json defrag_json(const DefragStatus& defrag) {
  return {{"asked", defrag.asked},
          {"answered", defrag.answered},
          {"device", defrag.device.empty() ? Json() : Json(defrag.device)},
          {"done_bytes", defrag.done_bytes},
          {"all_bytes", defrag.all_bytes},
          {"moved_bytes", defrag.moved_bytes},
          {"extents_before", defrag.extents_before},
          {"extents_after", defrag.extents_after},
          {"ended", defrag.ended.empty() ? Json() : Json(defrag.ended)}};
}

// null: nothing was written by users.
Json amplification(const PoolStatus& status) {
  if (status.written_user == 0) return nullptr;
  return std::round(1000.0 * static_cast<double>(status.written_medium()) /
                    static_cast<double>(status.written_user)) /
         1000;
}

// A label's value: backslash, quote and line end are escaped.
std::string label(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out;
}

// Metrics of one value, or of one value for each of something.
class Metrics {
 public:
  explicit Metrics(std::string pool) : pool_(label(pool)) {}

  void one(std::string_view name, std::string_view type, std::string_view help, uint64_t value) {
    head(name, type, help);
    text_ +=
        "lamina_" + std::string(name) + "{pool=\"" + pool_ + "\"} " + std::to_string(value) + "\n";
  }
  void head(std::string_view name, std::string_view type, std::string_view help) {
    text_ += "# HELP lamina_" + std::string(name) + " " + std::string(help) + "\n";
    text_ += "# TYPE lamina_" + std::string(name) + " " + std::string(type) + "\n";
  }
  void labelled(std::string_view name, std::string_view kind, std::string_view value,
                uint64_t count) {
    text_ += "lamina_" + std::string(name) + "{pool=\"" + pool_ + "\"," + std::string(kind) +
             "=\"" + label(value) + "\"} " + std::to_string(count) + "\n";
  }
  void blob(std::string_view name, const std::string& blob, uint64_t value) {
    labelled(name, "blob", blob, value);
  }
  std::string take() { return std::move(text_); }

 private:
  const std::string pool_;
  std::string text_;
};

}  // namespace

std::string status_json(const PoolStatus& status, const KernelFeatures& kernel,
                        const ProcessStatus& process) {
  Json blobs = Json::array();
  for (const BlobStatus& blob : status.blobs) blobs.push_back(blob_json(blob));
  Json causes = Json::object();
  for (size_t i = 0; i < cause_count; ++i) causes[std::string(cause_names[i])] = status.written[i];
  const Json json = {
      {"pool", status.name},
      {"uuid", uuid_text(status.uuid)},
      {"pid", process.pid},
      {"health", status.health},
      {"read_only", status.read_only},
      {"size", status.size},
      {"used", status.used},
      {"free", status.free},
      {"space_warning", status.space_warning == 0 ? Json() : Json(status.space_warning)},
      {"data_bytes", status.data_bytes},
      {"devices", status.devices},
      {"extents", status.extents},
      {"metadata_bytes", status.metadata_bytes},
      {"record_bytes", status.written_for(Cause::record_headers)},
      {"summary_bytes", status.written_for(Cause::summaries)},
      {"log_bytes", status.log_bytes},
      {"tail_bytes", status.tail_bytes},
      {"layer_bytes", status.layer_bytes},
      {"node_cache_bytes", status.node_cache_bytes},
      {"node_misses", status.node_misses},
      {"written_user", status.written_user},
      {"read_user", status.read_user},
      {"written_medium", status.written_medium()},
      {"written_log",
       status.written_for(Cause::payload) + status.written_for(Cause::record_headers)},
      {"written_nodes", status.written_for(Cause::nodes) + status.written_for(Cause::tables)},
      {"written_moved", status.written_for(Cause::moved)},
      {"written", causes},
      {"write_amplification", amplification(status)},
      {"discarded", status.discarded},
      {"flushes", status.flushes},
      {"checkpoints", status.checkpoints},
      {"checkpoint", status.checkpoint},
      {"epoch", status.epoch},
      {"recovered_entries", status.recovered_entries},
      {"survived_failures", status.survived_failures},
      {"healed", status.healed},
      {"rebuilt_nodes", status.rebuilt_nodes},
      {"snapshots",
       {{"taken", status.forks},
        {"last_us", status.last_fork_ns / 1000},
        {"longest_us", status.longest_fork_ns / 1000}}},
      {"blobs", blobs},
      {"mover",
       {{"state", status.mover_state},
        {"policy", status.mover_policy},
        {"moved_bytes", status.moved_bytes},
        {"aged_bytes", status.aged_bytes},
        {"promoted_bytes", status.promoted_bytes},
        {"evacuated_bytes", status.evacuated_bytes},
        {"aging_asked", status.aging_asked},
        {"aging_answered", status.aging_answered},
        {"emptied_segments", status.emptied_segments},
        {"gained_bytes", status.gained_bytes}}},
      {"evacuation", evacuation_json(status.evacuation)},
      {"members_refused", status.members_refused},
      {"origins", origins_json(status.origins)},
      {"origin_refused", status.origin_refused},
      {"defrag", defrag_json(status.defrag)},
      {"scrub", scrub_json(status.scrub)},
      {"check", check_json(status.check)},
      {"walk", walk_json(status.walk)},
      {"lost_ranges", status.lost_ranges},
      {"kernel", kernel_json(kernel, process)},
  };
  return dump(json) + "\n";
}

std::string metrics_text(const PoolStatus& status) {
  Metrics m(status.name);
  m.one("healthy", "gauge", "1 while the pool takes writes, is not full and no disk has failed",
        status.health == "ok" ? 1 : 0);
  m.one("size_bytes", "gauge", "What users can ever store", status.size);
  m.one("used_bytes", "gauge", "Of it, what is in use", status.used);
  m.one("free_bytes", "gauge", "What can still be written", status.free);
  m.one("space_warning_percent", "gauge",
        "The last of 80, 90, 95 and 100 percent of the space that was reached; 0: none",
        status.space_warning);
  m.one("data_bytes", "gauge", "Of what is used, data of devices, what is shared once",
        status.data_bytes);
  m.one("walk_complete", "gauge", "1 where the newest walk of the maps could read everything",
        status.walk.complete ? 1 : 0);
  m.one("devices", "gauge", "Devices", status.devices);
  m.one("extents", "gauge", "Extents in all maps, as of the last merge", status.extents);
  m.one("metadata_bytes", "gauge", "Maps, tables and checkpoints, one copy", status.metadata_bytes);
  m.one("log_bytes", "gauge", "To roll forward after a crash now", status.log_bytes);
  m.one("tail_bytes", "gauge", "Written but not known to be durable", status.tail_bytes);
  m.one("layer_bytes", "gauge", "Memory of changes not merged yet", status.layer_bytes);
  m.one("node_cache_bytes", "gauge", "Memory of cached nodes", status.node_cache_bytes);
  m.one("node_misses_total", "counter", "Nodes looked up that were not cached", status.node_misses);
  m.one("read_user_bytes_total", "counter", "Payload given to users", status.read_user);
  m.one("written_user_bytes_total", "counter", "Payload taken from users", status.written_user);
  m.one("written_medium_bytes_total", "counter", "Written to disks, all causes",
        status.written_medium());
  m.head("written_bytes_total", "counter", "Written to disks, by cause");
  for (size_t i = 0; i < cause_count; ++i)
    m.labelled("written_bytes_total", "cause", cause_names[i], status.written[i]);
  m.one("discarded_bytes_total", "counter", "Discarded, on disks", status.discarded);
  m.one("moved_bytes_total", "counter", "Moved by the mover, all policies", status.moved_bytes);
  m.one("aged_bytes_total", "counter", "Of what was moved, what went to a lower tier",
        status.aged_bytes);
  m.one("promoted_bytes_total", "counter",
        "Of what was moved, what went to a higher tier, since it is read often",
        status.promoted_bytes);
  m.one("evacuated_bytes_total", "counter",
        "Of what was moved, what went out of blobs that are leaving", status.evacuated_bytes);
  m.one("defragmented_bytes_total", "counter", "Of what was moved, what was brought into order",
        status.defrag.moved_bytes);
  m.one("scrubbed_bytes_total", "counter",
        "Payload that was compared with its checksums by scrubbing", status.scrub.verified_bytes);
  m.one("scrub_zeroes_dropped_total", "counter",
        "Extents of zeroes that hid nothing any more, and are holes now",
        status.scrub.zeroes_dropped);
  m.one("scrub_bad_bytes", "gauge",
        "Data that devices have lost, as the scrub under way or the newest one found",
        status.scrub.bad_bytes);
  m.one("scrub_end_seconds", "gauge", "When the newest whole scrub ended, since 1970; 0: never",
        status.scrub.ended_ns / 1'000'000'000);
  m.one("gained_bytes_total", "counter", "Space that cleaning has made free, less what it filled",
        status.gained_bytes);
  m.one("flushes_total", "counter", "Flushes of disks", status.flushes);
  m.one("checkpoints_total", "counter", "Checkpoints", status.checkpoints);
  m.one("snapshots_total", "counter", "Steps that made snapshots or clones", status.forks);
  m.one("survived_failures_total", "counter", "Failed writes and flushes that were survived",
        status.survived_failures);
  m.one("healed_total", "counter",
        "Damaged blocks of metadata that have been written anew, from another copy or made again",
        status.healed);
  m.one("rebuilt_nodes_total", "counter",
        "Nodes of maps of which no copy was left, made again from summaries and records",
        status.rebuilt_nodes);
  m.one("lost_ranges", "gauge", "Ranges that cannot be read", status.lost_ranges);
  // An image that has changed and one that is the origin of others since may have one path.
  std::map<std::string, uint64_t> origins;
  for (const OriginStatus& origin : status.origins) {
    uint64_t& healthy = origins.try_emplace(origin.path, 1).first->second;
    if (origin.health != "ok") healthy = 0;
  }
  if (!origins.empty())
    m.head("origin_healthy", "gauge", "1 while an external origin is as it was");
  for (const auto& [path, healthy] : origins) m.labelled("origin_healthy", "path", path, healthy);
  m.head("blob_size_bytes", "gauge", "Size of a blob");
  for (const BlobStatus& blob : status.blobs) m.blob("blob_size_bytes", blob.name, blob.size);
  m.head("blob_free_bytes", "gauge", "Free space of a blob");
  for (const BlobStatus& blob : status.blobs) m.blob("blob_free_bytes", blob.name, blob.free);
  m.head("blob_data_bytes", "gauge", "Data that lives in a blob");
  for (const BlobStatus& blob : status.blobs) m.blob("blob_data_bytes", blob.name, blob.data_bytes);
  m.head("blob_saved_bytes", "gauge", "Of it, what compression spares");
  for (const BlobStatus& blob : status.blobs)
    m.blob("blob_saved_bytes", blob.name, blob.saved_bytes);
  m.head("blob_healthy", "gauge", "1 while the blob's disk works");
  for (const BlobStatus& blob : status.blobs)
    m.blob("blob_healthy", blob.name, blob.health == "ok" ? 1 : 0);
  return m.take();
}

std::string lost_text(const std::vector<LostRange>& ranges) {
  std::string text;
  for (const LostRange& lost : ranges)
    text += std::to_string(lost.range.begin.byte_offset()) + " " +
            std::to_string(lost.range.length().bytes()) + " " + std::to_string(raw(lost.device)) +
            " " + lost.name + "\n";
  return text;
}

std::string check_text(const PoolStatus& status, const std::vector<CheckFinding>& findings) {
  const CheckStatus& check = status.check;
  Json list = Json::array();
  for (const CheckFinding& finding : findings)
    list.push_back({{"rule", finding.rule}, {"where", finding.where}, {"what", finding.what}});
  Json verdict;  // clean is only what was looked at to the end
  if (check.findings > 0)
    verdict = "damaged";
  else if (check.ended == "done")
    verdict = "clean";
  const Json json = {{"verdict", verdict},
                     {"pool", status.name},
                     {"segments", check.segments},
                     {"devices", check.devices},
                     {"ranges", check.ranges},
                     {"verified_bytes", check.verified_bytes},
                     {"findings", list},
                     {"found", check.findings},
                     {"ended", check.ended.empty() ? Json() : Json(check.ended)}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string device_json(const DeviceInfo& info, uint64_t stored) {
  const Json json = {
      {"name", info.name},
      {"id", raw(info.id)},
      {"size", info.size_bytes},
      {"mapped", info.mapped_bytes},
      // null: some may be shared, and no walk has counted it yet.
      {"exclusive", info.share ? Json(info.share->exclusive_bytes) : Json()},
      {"shared", info.share ? Json(info.share->shared_bytes) : Json()},
      {"exclusive_age_s", info.share ? age(info.share->age_ns) : Json()},
      {"reserved", info.reserved_bytes},
      {"suspect", info.suspect_bytes},
      {"stored", stored},
      {"ratio", stored == 0 ? 1.0 : static_cast<double>(info.mapped_bytes * 100 / stored) / 100},
      {"extents", info.extents},
      {"origin", info.origin_name},
      {"origin_files", info.origin_files},
      {"created", rfc3339(info.created_ns)},
      {"read_only", info.read_only},
      {"tier", info.pin.empty() ? "auto" : info.pin},
  };
  return dump(json);
}

std::string map_json(const std::vector<MappedRange>& ranges, const std::vector<BlobStatus>& blobs,
                     bool complete) {
  Json list = Json::array();
  for (const MappedRange& mapped : ranges) {
    Json entry = {{"begin", mapped.range.begin.byte_offset()},
                  {"length", mapped.range.length().bytes()},
                  {"state", state_name(mapped.state)}};
    const auto blob = std::ranges::find(blobs, mapped.blob, &BlobStatus::id);
    if (mapped.state == RangeState::data && blob != blobs.end()) entry["blob"] = blob->name;
    if (!mapped.origin.empty()) entry["origin"] = mapped.origin;
    list.push_back(std::move(entry));
  }
  Json json = {{"ranges", std::move(list)}, {"next", nullptr}};
  if (!complete && !ranges.empty()) json["next"] = ranges.back().range.end.byte_offset();
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string medium_place_json(const MediumPlace& place) {
  Json users = Json::array();
  for (const MediumPlace::User& user : place.users)
    users.push_back({{"device", user.name},
                     {"id", raw(user.device)},
                     {"read_only", user.read_only},
                     {"begin", user.range.begin.byte_offset()},
                     {"length", user.range.length().bytes()},
                     {"alias", user.alias}});
  Json json = {{"blob", place.blob},        {"offset", place.offset},  {"what", place.what},
               {"segment", nullptr},        {"frame", nullptr},        {"node", nullptr},
               {"users", std::move(users)}, {"more", place.more_users}};
  if (place.generation != Generation::none)
    json["segment"] = {{"index", place.segment},
                       {"generation", raw(place.generation)},
                       {"class", place.segment_class},
                       {"block", place.block}};
  if (place.frames > 0) json["frame"] = {{"first", place.frame}, {"count", place.frames}};
  if (place.node != NodeId::none) json["node"] = {{"id", raw(place.node)}, {"level", place.level}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string rfc3339(uint64_t ns_since_1970) {
  const time_t seconds = static_cast<time_t>(ns_since_1970 / 1'000'000'000);
  tm utc{};
  gmtime_r(&seconds, &utc);
  char text[32];
  return {text, strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc)};
}

std::string uuid_text(const Uuid& uuid) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (size_t i = 0; i < uuid.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += digits[std::to_integer<size_t>(uuid[i] >> 4)];
    text += digits[std::to_integer<size_t>(uuid[i] & std::byte{15})];
  }
  return text;
}

}  // namespace lamina
