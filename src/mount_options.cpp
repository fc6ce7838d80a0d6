// SPDX-License-Identifier: Apache-2.0
#include "mount_options.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

#include "config/quantity.h"

namespace lamina {
namespace {

// What mount(8) and fstab add for themselves, and what holds for every lamina mount anyway.
constexpr std::array<std::string_view, 16> accepted_silently{
    "defaults", "rw",     "auto",  "noauto", "nofail", "_netdev", "user", "nouser",
    "users",    "nosuid", "nodev", "noexec", "dev",    "suid",    "exec", "default_permissions"};
constexpr std::array<std::string_view, 6> for_the_kernel{"noatime",    "relatime", "strictatime",
                                                         "nodiratime", "sync",     "dirsync"};
constexpr std::array<std::string_view, 4> contexts{
    "context=", "fscontext=", "defcontext=", "rootcontext="};
constexpr uint32_t max_threads = 64;

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> words;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    if (end > begin) words.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

template <size_t count>
bool contains(const std::array<std::string_view, count>& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

bool is_context(const std::string& word) {
  return std::any_of(contexts.begin(), contexts.end(),
                     [&](std::string_view prefix) { return word.starts_with(prefix); });
}

Result<> parse_threads(const std::string& word, uint32_t& threads) {
  const std::string value = word.substr(word.find('=') + 1);
  const auto parsed = std::from_chars(value.data(), value.data() + value.size(), threads);
  if (parsed.ec == std::errc{} && parsed.ptr == value.data() + value.size() && threads >= 1 &&
      threads <= max_threads)
    return {};
  return fail(Code::invalid, "-o " + word.substr(0, word.find('=')) +
                                 ": expected a number from 1 to 64, not \"" + value + "\"");
}

Result<> parse_word(const std::string& word, MountOptions& options) {
  constexpr std::string_view without = "without=", throttle = "throttle=";
  if (word == "ro") {
    options.read_only = true;
  } else if (word == "allow_other") {
    options.allow_other = true;
  } else if (word == "noallow_other") {
    options.allow_other = false;
  } else if (word == "force") {
    options.force = true;
  } else if (word.starts_with("reactors=")) {
    return parse_threads(word, options.reactors);
  } else if (word.starts_with("workers=")) {
    return parse_threads(word, options.workers);
  } else if (word.starts_with(throttle)) {
    const auto size = parse_size(word.substr(throttle.size()));
    if (!size || *size == 0)
      return fail(Code::invalid, "-o throttle: expected bytes a second, like 60M, not \"" +
                                     word.substr(throttle.size()) + "\"");
    options.throttle = *size;
  } else if (word.starts_with(without)) {
    std::string list = word.substr(without.size());
    std::replace(list.begin(), list.end(), ':', ',');  // the comma is mount's own
    auto features = parse_features(list);
    if (!features) return fail(Code::invalid, "-o without: " + features.error().message);
    options.without |= *features;
  } else if (contains(for_the_kernel, word) || is_context(word)) {
    options.to_kernel.push_back(word);
  } else if (!contains(accepted_silently, word) && !word.starts_with("x-")) {
    return fail(Code::invalid, "-o " + word +
                                   ": unknown; known are ro, allow_other, "
                                   "noallow_other, force, reactors=N, workers=N, throttle=SIZE, "
                                   "without=FEATURE:FEATURE, noatime and the like");
  }
  return {};
}

}  // namespace

Result<MountOptions> parse_mount_options(const std::vector<std::string>& lists, bool is_root) {
  MountOptions options;
  options.allow_other = is_root;
  for (const std::string& list : lists)
    for (const std::string& word : split(list, ',')) LAMINA_TRY(parse_word(word, options));
  return options;
}

}  // namespace lamina
