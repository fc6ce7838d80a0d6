// SPDX-License-Identifier: Apache-2.0
// What a person asked of one pool, complete and valid: every key of a pool file with its default.
// The defaults live here and nowhere else.
// Thread-safety: plain values.
// Errors: load_pool_config names file, line and key, and touches nothing that the file names.
// Units: bytes and nanoseconds, as the names say.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/units.h"

namespace lamina {

inline constexpr size_t max_pool_name_bytes = 63;  // of a pool or a blob: room in a superblock

struct BlobConfig {
  enum class Kind : uint8_t { journal, transparent, compression };
  std::string name;
  Kind kind = Kind::journal;
  std::string path;     // absolute
  uint32_t tier = 0;    // writes go to tier 0, data ages to higher ones; by default journal 0,
                        // transparent 1, compression 2
  uint64_t offset = 0;  // bytes; of the part of the path that the blob is
  uint64_t size = 0;    // bytes; 0 = to the end
  int level = 3;        // of zstd, for compression blobs
  std::string where;    // "vmstore.yaml:4" for messages; empty without a pool file

  std::string place() const;  // how messages name it
};

struct AgingConfig {
  double keep_free_percent = 20;       // of the blob
  uint64_t idle_ns = 600'000'000'000;  // data younger than this stays
};

struct MemoryConfig {
  uint64_t nodes = 256 * mib;    // cache of map nodes
  uint64_t layers = 64 * mib;    // changes that no checkpoint has merged yet
  uint64_t tail = 64 * mib;      // written, not known to be durable
  uint64_t sums = 64 * mib;      // cached payload checksums
  uint64_t frames = 64 * mib;    // decompressed frames
  uint64_t requests = 64 * mib;  // buffers of requests from the kernel
};

struct PoolConfig {
  enum class Verify : uint8_t { reads, moves };
  enum class Preallocate : uint8_t { reserve, check };

  std::string file;  // the POOL that was named, absolute
  bool from_yaml = false;
  std::string name;  // empty: what the superblock says
  std::vector<BlobConfig> blobs;
  std::map<std::string, AgingConfig> aging;  // by blob name
  MemoryConfig memory;
  Verify verify = Verify::reads;
  Preallocate preallocate = Preallocate::reserve;
  uint64_t flush_after_ns = 1'000'000'000;
  std::string on_low_space;    // absolute path of a program; empty = none
  uint64_t segment_bytes = 0;  // 0 = by the size of the disk
  uint64_t erase_bytes = 0;    // 0 = what the device says
  double reserve_percent = 0;  // kept back for the pool's own work, if it is more than that needs
  uint32_t reactors = 0;       // 0 = by the number of processors
  bool promote = false;        // what is read often in a tier comes to the one above
  std::vector<std::string> origins;  // directories below which external origins may lie
  std::string log = "journal";       // "journal", or the absolute path of a file
};

// `pool` is a pool file in YAML, or a pool of one file or partition itself (any block device, and
// any regular file over max_pool_file_bytes), for which all defaults hold.
// Errors: not_found, access; invalid, with file, line and key.
Result<PoolConfig> load_pool_config(const std::string& pool);

// A pool file from memory, for tests. `file` is what messages call it; relative paths in it are
// relative to its folder.
Result<PoolConfig> parse_pool_config(const std::string& text, const std::string& file);

// What a pool is called that lies at the path and was not named: "/srv/vm store.img" is "vm_store".
std::string pool_name_from(const std::string& path);
inline constexpr const char* single_blob_name = "journal";  // of a pool without a pool file

// The config of a pool that lies wholly on `path`.
PoolConfig single_path_config(const std::string& path);

const char* kind_name(BlobConfig::Kind kind);

// Ok, or invalid: 1 to 63 characters out of A-Z a-z 0-9 . _ -, the first no dot or dash.
Result<> check_pool_name(const std::string& name);

inline constexpr uint64_t max_pool_file_bytes = 1 * mib;

}  // namespace lamina
