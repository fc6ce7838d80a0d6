// SPDX-License-Identifier: Apache-2.0
// One mapping of a YAML document, read strictly: unknown and doubled keys are errors, and every
// error names file, line and key.
// Thread-safety: plain values. Ownership: shares the document with yaml-cpp's nodes.
// Errors: throws ConfigError, which never leaves config/.
#pragma once

#include <yaml-cpp/yaml.h>

#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace lamina {

class ConfigError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class YamlMap {
 public:
  // `key` is the path that led here, "" at the top.
  YamlMap(YAML::Node node, std::string file, std::string key,
          std::initializer_list<std::string_view> allowed_keys);

  bool has(std::string_view key) const;
  // Each throws if the key is missing or of another type.
  std::string text(std::string_view key) const;
  uint64_t number(std::string_view key, uint64_t least, uint64_t most) const;
  uint64_t size(std::string_view key, uint64_t least, uint64_t most) const;
  uint64_t duration(std::string_view key, uint64_t least, uint64_t most) const;
  double percentage(std::string_view key) const;
  bool yes_or_no(std::string_view key) const;
  // The place of the value among `choices`.
  size_t choice(std::string_view key, std::initializer_list<std::string_view> choices) const;
  YAML::Node node(std::string_view key) const;  // of any type
  std::vector<std::string> keys() const;

  std::string path_of(std::string_view key) const;  // "blobs[1].tier"
  std::string where(std::string_view key) const;    // "vmstore.yaml:7"
  [[noreturn]] void reject(std::string_view key, const std::string& why) const;
  [[noreturn]] void reject_all(const std::string& why) const;  // the mapping as a whole

 private:
  std::string file_, key_;
  YAML::Mark mark_;
  std::vector<std::pair<std::string, YAML::Node>> entries_;
  std::vector<YAML::Mark> marks_;  // of the keys, parallel to entries_
};

// "file:line:column"; the file alone where yaml-cpp does not know.
std::string describe_place(const std::string& file, const YAML::Mark& mark);

}  // namespace lamina
