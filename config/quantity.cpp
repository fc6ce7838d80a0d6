// SPDX-License-Identifier: Apache-2.0
#include "config/quantity.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <ctime>

#include "base/units.h"

namespace lamina {
namespace {

// A number as typed, before its unit: whole part, and fraction in billionths.
struct Decimal {
  uint64_t whole = 0;
  uint64_t billionths = 0;
};

constexpr uint64_t billion = 1'000'000'000;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Takes a decimal number off the front of `text`.
Result<Decimal> take_decimal(std::string_view& text) {
  Decimal number;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number.whole);
  if (parsed.ec == std::errc::result_out_of_range) return fail(Code::too_big, "too large");
  if (parsed.ec != std::errc{}) return fail(Code::invalid);
  text.remove_prefix(static_cast<size_t>(parsed.ptr - text.data()));
  if (text.size() < 2 || text[0] != '.' || !is_digit(text[1])) return number;
  text.remove_prefix(1);
  for (uint64_t unit = billion / 10; !text.empty() && is_digit(text[0]); text.remove_prefix(1)) {
    number.billionths += unit * static_cast<uint64_t>(text[0] - '0');
    unit /= 10;
  }
  return number;
}

Result<uint64_t> scale(const Decimal& number, uint64_t unit) {
  uint64_t value = 0;
  if (__builtin_mul_overflow(number.whole, unit, &value)) return fail(Code::too_big, "too large");
  const auto fraction =
      static_cast<uint64_t>(static_cast<unsigned __int128>(number.billionths) * unit / billion);
  if (__builtin_add_overflow(value, fraction, &value)) return fail(Code::too_big, "too large");
  return value;
}

struct Unit {
  std::string_view suffix;
  uint64_t value;
};

constexpr std::array<Unit, 5> size_units{
    {{"P", pib}, {"T", tib}, {"G", gib}, {"M", mib}, {"K", kib}}};
constexpr std::array<Unit, 6> duration_units{{{"d", 86400 * billion},
                                              {"h", 3600 * billion},
                                              {"m", 60 * billion},
                                              {"s", billion},
                                              {"ms", 1'000'000},
                                              {"us", 1'000}}};

}  // namespace

Result<uint64_t> parse_size(std::string_view text) {
  const std::string expected =
      "expected a size such as 10G, 512M or 4096, not \"" + std::string(text) + "\"";
  auto number = take_decimal(text);
  if (!number) {
    if (number.error().code == Code::too_big) return fail(Code::too_big, "the size is too large");
    return fail(Code::invalid, expected);
  }
  uint64_t unit = 1;
  if (!text.empty()) {
    const char letter = static_cast<char>(text[0] & ~0x20);
    const std::string_view rest = text.substr(1);
    unit = 0;
    for (const Unit& candidate : size_units)
      if (candidate.suffix[0] == letter && (rest.empty() || rest == "iB")) unit = candidate.value;
    if (unit == 0) return fail(Code::invalid, expected);
  } else if (number->billionths != 0) {
    return fail(Code::invalid, expected);  // half a byte
  }
  auto size = scale(*number, unit);
  if (!size) return fail(Code::too_big, "the size is too large");
  return size;
}

std::string format_size(uint64_t bytes) {
  for (const Unit& unit : size_units) {
    if (bytes < unit.value) continue;
    if (bytes % unit.value == 0)
      return std::to_string(bytes / unit.value) + std::string(unit.suffix);
    const double value = static_cast<double>(bytes) / static_cast<double>(unit.value);
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.1f", value);
    return text.data() + std::string(unit.suffix);
  }
  return std::to_string(bytes);
}

Result<uint64_t> parse_duration(std::string_view text) {
  const std::string expected =
      "expected a duration such as 500ms, 1s or 10m, not \"" + std::string(text) + "\"";
  auto number = take_decimal(text);
  if (!number) return fail(number.error().code, expected);
  uint64_t unit = text.empty() ? billion : 0;
  for (const Unit& candidate : duration_units)
    if (candidate.suffix == text) unit = candidate.value;
  if (unit == 0) return fail(Code::invalid, expected);
  auto duration = scale(*number, unit);
  if (!duration) return fail(Code::too_big, "the duration is too long");
  return duration;
}

std::string format_duration(uint64_t nanoseconds) {
  for (const Unit& unit : duration_units)
    if (nanoseconds >= unit.value && nanoseconds % unit.value == 0)
      return std::to_string(nanoseconds / unit.value) + std::string(unit.suffix);
  return std::to_string(nanoseconds / 1000) + "us";
}

Result<double> parse_percentage(std::string_view text) {
  const std::string expected =
      "expected a percentage from 0% to 100%, not \"" + std::string(text) + "\"";
  auto number = take_decimal(text);
  if (!number || text != "%") return fail(Code::invalid, expected);
  const double value =
      static_cast<double>(number->whole) + static_cast<double>(number->billionths) / billion;
  if (value > 100) return fail(Code::invalid, expected);
  return value;
}

std::string format_time(uint64_t nanoseconds) {
  const auto seconds = static_cast<time_t>(nanoseconds / billion);
  std::tm broken_down{};
  gmtime_r(&seconds, &broken_down);
  std::array<char, 40> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &broken_down);
  return text.data();
}

}  // namespace lamina
