// SPDX-License-Identifier: Apache-2.0
// What a mounted pool says of itself in .lamina/status.json.
// Thread-safety: pure functions of the system's state.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/result.h"
#include "config/pool_config.h"

namespace lamina {

// Of the pool mounted at `mount`, as typed.
Result<nlohmann::ordered_json> read_status(const std::string& mount);
// The same, for who needs that part of it. Error io: there is none.
Result<nlohmann::ordered_json> read_status_with(const std::string& mount, const char* part);
// A number of it, or of a part; 0 where it is not there.
uint64_t number_in(const nlohmann::ordered_json& of, const char* key);

// The list `blobs` of it as columns.
std::string blob_table(const nlohmann::ordered_json& blobs);

// Where the pool is mounted that has a disk of `config`, and that mount's source.
struct Serving {
  std::string mount, source;
  std::string path;  // of the disk
};
std::optional<Serving> find_serving(const PoolConfig& config);

// `error` of opening the disks of `config`; where it is that they are in use, with the mount that
// has them.
Error explain_use(const PoolConfig& config, Error error);

}  // namespace lamina
