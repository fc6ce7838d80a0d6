// SPDX-License-Identifier: Apache-2.0
#include "config/yaml_map.h"

#include <algorithm>
#include <charconv>

#include "config/quantity.h"

namespace lamina {
namespace {

std::string list_of(std::initializer_list<std::string_view> words) {
  std::string text;
  for (const std::string_view word : words) {
    if (!text.empty()) text += ", ";
    text += word;
  }
  return text;
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  result += text;
  result += "\"";
  return result;
}

}  // namespace

std::string describe_place(const std::string& file, const YAML::Mark& mark) {
  if (mark.is_null()) return file;
  return file + ":" + std::to_string(mark.line + 1) + ":" + std::to_string(mark.column + 1);
}

YamlMap::YamlMap(YAML::Node node, std::string file, std::string key,
                 std::initializer_list<std::string_view> allowed_keys)
    : file_(std::move(file)), key_(std::move(key)), mark_(node.Mark()) {
  if (!node.IsMap()) reject_all("expected keys and values");
  for (const auto& entry : node) {
    if (!entry.first.IsScalar()) reject_all("a key must be a plain word");
    const std::string name = entry.first.Scalar();
    const std::string place = describe_place(file_, entry.first.Mark()) + ": " + path_of(name);
    if (has(name)) throw ConfigError(place + ": given twice");
    if (allowed_keys.size() > 0 &&
        std::find(allowed_keys.begin(), allowed_keys.end(), name) == allowed_keys.end())
      throw ConfigError(place + ": unknown key; known here: " + list_of(allowed_keys));
    entries_.emplace_back(name, entry.second);
    marks_.push_back(entry.first.Mark());
  }
}

bool YamlMap::has(std::string_view key) const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const auto& entry) { return entry.first == key; });
}

YAML::Node YamlMap::node(std::string_view key) const {
  for (const auto& [name, value] : entries_)
    if (name == key) return value;
  reject_all(quoted(std::string(key)) + " is missing");
}

std::string YamlMap::text(std::string_view key) const {
  const YAML::Node value = node(key);
  if (!value.IsScalar() || value.Scalar().empty()) reject(key, "expected a value");
  return value.Scalar();
}

uint64_t YamlMap::number(std::string_view key, uint64_t least, uint64_t most) const {
  const std::string value = text(key);
  uint64_t number = 0;
  const auto parsed = std::from_chars(value.data(), value.data() + value.size(), number);
  if (parsed.ec != std::errc{} || parsed.ptr != value.data() + value.size() || number < least ||
      number > most)
    reject(key, "expected a whole number from " + std::to_string(least) + " to " +
                    std::to_string(most) + ", not " + quoted(value));
  return number;
}

uint64_t YamlMap::size(std::string_view key, uint64_t least, uint64_t most) const {
  const auto size = parse_size(text(key));
  if (!size) reject(key, size.error().message);
  if (*size < least || *size > most)
    reject(key, "expected a size from " + format_size(least) + " to " + format_size(most) +
                    ", not " + quoted(text(key)));
  return *size;
}

uint64_t YamlMap::duration(std::string_view key, uint64_t least, uint64_t most) const {
  const auto duration = parse_duration(text(key));
  if (!duration) reject(key, duration.error().message);
  if (*duration < least || *duration > most)
    reject(key, "expected a duration from " + format_duration(least) + " to " +
                    format_duration(most) + ", not " + quoted(text(key)));
  return *duration;
}

double YamlMap::percentage(std::string_view key) const {
  const auto percentage = parse_percentage(text(key));
  if (!percentage) reject(key, percentage.error().message);
  return *percentage;
}

bool YamlMap::yes_or_no(std::string_view key) const {
  const std::string value = text(key);
  if (value == "true" || value == "yes" || value == "on") return true;
  if (value == "false" || value == "no" || value == "off") return false;
  reject(key, "expected true or false, not " + quoted(value));
}

size_t YamlMap::choice(std::string_view key,
                       std::initializer_list<std::string_view> choices) const {
  const std::string value = text(key);
  const auto* found = std::find(choices.begin(), choices.end(), value);
  if (found == choices.end())
    reject(key, "expected one of " + list_of(choices) + ", not " + quoted(value));
  return static_cast<size_t>(found - choices.begin());
}

std::vector<std::string> YamlMap::keys() const {
  std::vector<std::string> names;
  for (const auto& [name, value] : entries_) names.push_back(name);
  return names;
}

std::string YamlMap::path_of(std::string_view key) const {
  if (key_.empty()) return std::string(key);
  return key_ + "." + std::string(key);
}

std::string YamlMap::where(std::string_view key) const {
  for (size_t i = 0; i < entries_.size(); ++i)
    if (entries_[i].first == key) return describe_place(file_, marks_[i]);
  return describe_place(file_, mark_);
}

void YamlMap::reject(std::string_view key, const std::string& why) const {
  throw ConfigError(where(key) + ": " + path_of(key) + ": " + why);
}

void YamlMap::reject_all(const std::string& why) const {
  throw ConfigError(describe_place(file_, mark_) + ": " + (key_.empty() ? "" : key_ + ": ") + why);
}

}  // namespace lamina
