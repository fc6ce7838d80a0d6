// SPDX-License-Identifier: Apache-2.0
#include "config/pool_config.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "config/blob_parts.h"
#include "config/yaml_map.h"

namespace lamina {
namespace {

constexpr uint64_t millisecond = 1'000'000;
constexpr uint64_t hour = 3600ull * 1000 * millisecond;
constexpr size_t max_blobs = 32;  // a checkpoint slot has room for no more members
constexpr uint32_t max_tier = 15;
constexpr uint32_t max_reactors = 64;

std::string in_folder_of(const std::string& file, const std::string& path) {
  const std::filesystem::path wanted(path);
  if (wanted.is_absolute()) return wanted.lexically_normal();
  return (std::filesystem::absolute(file).parent_path() / wanted).lexically_normal();
}

std::string checked_name(const YamlMap& map, std::string_view key) {
  std::string name = map.text(key);
  if (const auto checked = check_pool_name(name); !checked)
    map.reject(key, checked.error().message);
  return name;
}

std::string absolute_path(const YamlMap& map, std::string_view key) {
  std::string path = map.text(key);
  if (path[0] != '/') map.reject(key, "expected an absolute path, not \"" + path + "\"");
  return path;
}

uint64_t block_multiple(const YamlMap& map, std::string_view key, uint64_t least, uint64_t most) {
  const uint64_t size = map.size(key, least, most);
  if (size % block_size != 0) map.reject(key, "expected a multiple of 4096 bytes");
  return size;
}

BlobConfig read_blob(const YAML::Node& node, const std::string& file, size_t index) {
  const YamlMap map(node, file, "blobs[" + std::to_string(index) + "]",
                    {"name", "kind", "path", "tier", "offset", "size", "level"});
  BlobConfig blob;
  blob.name = checked_name(map, "name");
  blob.where = map.where("name");
  blob.kind =
      static_cast<BlobConfig::Kind>(map.choice("kind", {"journal", "transparent", "compression"}));
  blob.path = in_folder_of(file, map.text("path"));
  // Where nothing is said, in the order in which data ages.
  blob.tier = static_cast<uint32_t>(blob.kind);
  if (map.has("tier")) blob.tier = static_cast<uint32_t>(map.number("tier", 0, max_tier));
  if (map.has("offset")) blob.offset = block_multiple(map, "offset", 0, 8192 * pib - 1);
  if (map.has("size")) blob.size = block_multiple(map, "size", 64 * mib, 8192 * pib - 1);
  if (map.has("level")) {
    if (blob.kind != BlobConfig::Kind::compression)
      map.reject("level", "only a blob of kind compression has a level");
    blob.level = static_cast<int>(map.number("level", 1, 19));
  }
  return blob;
}

void read_blobs(const YamlMap& top, PoolConfig& config) {
  const YAML::Node list = top.node("blobs");
  if (!list.IsSequence() || list.size() == 0)
    top.reject("blobs", "expected a list of at least one blob");
  if (list.size() > max_blobs)
    top.reject("blobs", "at most " + std::to_string(max_blobs) + " blobs are possible");
  bool journal_in_tier_0 = false;
  for (size_t i = 0; i < list.size(); ++i) {
    BlobConfig blob = read_blob(list[i], config.file, i);
    for (const BlobConfig& other : config.blobs)
      if (other.name == blob.name)
        throw ConfigError(blob.where + ": blobs[" + std::to_string(i) + "].name: \"" + blob.name +
                          "\" is the name of another blob, at " + other.where);
    for (const BlobConfig& other : config.blobs)
      if (other.tier == blob.tier && other.kind != blob.kind)
        throw ConfigError(blob.where + ": blobs[" + std::to_string(i) + "].tier: tier " +
                          std::to_string(blob.tier) + " has the " + kind_name(other.kind) +
                          " blob \"" + other.name + "\" (" + other.where +
                          "); blobs of one tier are of one kind, so give this one another tier");
    journal_in_tier_0 |= blob.kind == BlobConfig::Kind::journal && blob.tier == 0;
    config.blobs.push_back(std::move(blob));
  }
  if (!journal_in_tier_0)
    top.reject("blobs",
               "no blob of kind journal in tier 0; every pool needs one, for new writes "
               "and metadata");
  if (const auto overlap = overlapping_blobs(config.blobs)) {
    const BlobConfig &first = config.blobs[overlap->first], &second = config.blobs[overlap->second];
    throw ConfigError(second.where + ": blobs[" + std::to_string(overlap->second) +
                      "].path: " + second.path + " overlaps blob \"" + first.name + "\" (" +
                      first.path + "); give each its own offset and size");
  }
}

void read_aging(const YamlMap& top, PoolConfig& config) {
  const YamlMap aging(top.node("aging"), config.file, "aging", {});
  for (const std::string& name : aging.keys()) {
    const bool known = std::any_of(config.blobs.begin(), config.blobs.end(),
                                   [&](const BlobConfig& blob) { return blob.name == name; });
    if (!known) aging.reject(name, "no blob has that name");
    const YamlMap policy(aging.node(name), config.file, aging.path_of(name), {"keep_free", "idle"});
    AgingConfig& wanted = config.aging[name];
    if (policy.has("keep_free")) wanted.keep_free_percent = policy.percentage("keep_free");
    if (policy.has("idle")) wanted.idle_ns = policy.duration("idle", 0, 10 * 365 * 24 * hour);
  }
}

void read_memory(const YamlMap& top, PoolConfig& config) {
  const YamlMap map(top.node("memory"), config.file, "memory",
                    {"nodes", "layers", "tail", "sums", "frames", "requests"});
  MemoryConfig& memory = config.memory;
  const auto read = [&](std::string_view key, uint64_t& value, uint64_t least) {
    if (map.has(key)) value = map.size(key, least, 16 * tib);
  };
  // The least of each is what one operation of the largest kind needs to get through.
  read("nodes", memory.nodes, 4 * mib);
  read("layers", memory.layers, 4 * mib);
  read("tail", memory.tail, 8 * mib);
  read("sums", memory.sums, 1 * mib);
  read("frames", memory.frames, 1 * mib);
  read("requests", memory.requests, 8 * mib);
}

void read_origins(const YamlMap& top, PoolConfig& config) {
  const YAML::Node list = top.node("origins");
  if (!list.IsSequence()) top.reject("origins", "expected a list of directories");
  for (const auto& item : list) {
    if (!item.IsScalar() || item.Scalar().empty() || item.Scalar()[0] != '/')
      top.reject("origins", "expected absolute paths of directories");
    config.origins.push_back(item.Scalar());
  }
}

// Whether nobody but root and the user that this runs as can write `path`, or replace it there.
bool only_own(const std::filesystem::path& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0 && (status.st_mode & (S_IWGRP | S_IWOTH)) == 0 &&
         (status.st_uid == geteuid() || status.st_uid == 0);
}

// A program that a daemon of root starts must not be another user's to name: neither the file nor
// the folders that say which file that is.
void read_on_low_space(const YamlMap& top, PoolConfig& config) {
  config.on_low_space = absolute_path(top, "on_low_space");
  std::error_code from_memory;
  const std::filesystem::path file = std::filesystem::canonical(config.file, from_memory);
  if (from_memory) return;
  const std::filesystem::path typed(config.file);
  for (const auto& path : {file, file.parent_path(), typed.parent_path()})
    if (!only_own(path))
      top.reject("on_low_space", "others than its user can write " + path.string() +
                                     ", so no program is run from this file; chmod go-w, or chown "
                                     "to who mounts the pool");
}

void read_small_keys(const YamlMap& top, PoolConfig& config) {
  if (top.has("verify"))
    config.verify = static_cast<PoolConfig::Verify>(top.choice("verify", {"reads", "moves"}));
  if (top.has("preallocate"))
    config.preallocate =
        static_cast<PoolConfig::Preallocate>(top.choice("preallocate", {"reserve", "check"}));
  if (top.has("flush_after"))
    config.flush_after_ns = top.duration("flush_after", 10 * millisecond, hour);
  if (top.has("on_low_space")) read_on_low_space(top, config);
  if (top.has("segment")) {
    config.segment_bytes = top.size("segment", 256 * kib, 1 * gib);
    if (config.segment_bytes % (256 * kib) != 0)
      top.reject("segment", "expected a multiple of 256K");
  }
  if (top.has("erase")) config.erase_bytes = block_multiple(top, "erase", block_size, 1 * gib);
  if (top.has("reserve")) config.reserve_percent = top.percentage("reserve");
  if (top.has("reactors"))
    config.reactors = static_cast<uint32_t>(top.number("reactors", 1, max_reactors));
  if (top.has("promote")) config.promote = top.yes_or_no("promote");
  if (top.has("origins")) read_origins(top, config);
  if (top.has("log")) {
    config.log = top.text("log");
    if (config.log != "journal") config.log = absolute_path(top, "log");
  }
}

PoolConfig read_pool(const YAML::Node& document, const std::string& file) {
  const YamlMap top(
      document, file, "",
      {"pool", "blobs", "aging", "memory", "verify", "flush_after", "on_low_space", "segment",
       "erase", "reserve", "reactors", "preallocate", "promote", "origins", "log"});
  PoolConfig config;
  config.file = file;
  config.from_yaml = true;
  config.name = checked_name(top, "pool");
  read_blobs(top, config);
  if (top.has("aging")) read_aging(top, config);
  if (top.has("memory")) read_memory(top, config);
  read_small_keys(top, config);
  return config;
}

Result<std::string> read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) {
    return fail(Code::access, "cannot read the pool file " + path + ": " + std::strerror(errno));
  }
  return text.str();
}

}  // namespace

std::string BlobConfig::place() const {
  return where.empty() ? path : where + ": blob \"" + name + "\" (" + path + ")";
}

const char* kind_name(BlobConfig::Kind kind) {
  switch (kind) {
    case BlobConfig::Kind::journal:
      return "journal";
    case BlobConfig::Kind::transparent:
      return "transparent";
    case BlobConfig::Kind::compression:
      return "compression";
  }
  return "";
}

Result<> check_pool_name(const std::string& name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  if (!name.empty() && name.size() <= max_pool_name_bytes && name[0] != '.' && name[0] != '-' &&
      std::all_of(name.begin(), name.end(), allowed))
    return {};
  return fail(Code::invalid,
              "expected a name of 1 to 63 letters, digits, '.', '_' or '-' that "
              "does not begin with '.' or '-', not \"" +
                  name + "\"");
}

Result<PoolConfig> parse_pool_config(const std::string& text, const std::string& file) {
  // yaml-cpp throws; this is where its exceptions and ours end.
  try {
    const YAML::Node document = YAML::Load(text);
    if (document.IsNull()) return fail(Code::invalid, file + ": the pool file is empty");
    if (!document.IsMap())
      return fail(Code::invalid, file +
                                     ": neither a pool file (YAML with \"pool:\" and \"blobs:\") "
                                     "nor a pool itself");
    return read_pool(document, file);
  } catch (const ConfigError& error) {
    return fail(Code::invalid, error.what());
  } catch (const YAML::Exception& error) {
    return fail(Code::invalid, describe_place(file, error.mark) + ": not YAML: " + error.msg);
  }
}

std::string pool_name_from(const std::string& path) {
  std::string name = std::filesystem::path(path).stem();
  for (char& c : name)
    if (isalnum(static_cast<unsigned char>(c)) == 0 && c != '_' && c != '-' && c != '.') c = '_';
  name.erase(0, name.find_first_not_of(".-"));
  name.resize(std::min(name.size(), max_pool_name_bytes));
  return name.empty() ? "pool" : name;
}

PoolConfig single_path_config(const std::string& path) {
  PoolConfig config;
  config.file = std::filesystem::absolute(path).lexically_normal();
  config.blobs.emplace_back();
  config.blobs[0].path = config.file;
  return config;
}

Result<PoolConfig> load_pool_config(const std::string& pool) {
  struct stat status {};
  if (stat(pool.c_str(), &status) != 0)
    return fail(errno == ENOENT ? Code::not_found : Code::access,
                "cannot open the pool " + pool + ": " + std::strerror(errno));
  if (S_ISDIR(status.st_mode))
    return fail(Code::invalid, pool +
                                   " is a directory; name a pool file (YAML), or the file or "
                                   "partition that holds the pool");
  if (S_ISBLK(status.st_mode)) return single_path_config(pool);
  if (!S_ISREG(status.st_mode))
    return fail(Code::invalid, pool + " is neither a regular file nor a block device");
  if (static_cast<uint64_t>(status.st_size) > max_pool_file_bytes) return single_path_config(pool);
  auto text = read_text(pool);
  if (!text) return forward_error(text);
  return parse_pool_config(*text, std::filesystem::absolute(pool).lexically_normal());
}

}  // namespace lamina
