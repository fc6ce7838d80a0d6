// SPDX-License-Identifier: Apache-2.0
// Sizes, durations and percentages as people type and read them: 10G, 1.5M, 4096; 500ms, 1s, 10m;
// 30%. The one place where text becomes bytes or nanoseconds.
// Thread-safety: pure functions. Errors: invalid, with what was expected; too_big, past 64 bits.
// Units: sizes in bytes, K M G T P are powers of 1024; durations in nanoseconds.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace lamina {

// "4096", "512M", "1.5G", "10GiB". Upper or lower case; no sign, no space.
Result<uint64_t> parse_size(std::string_view text);
// The shortest of these that is exact, or else one decimal: "10G", "1.5G", "17.3M", "512".
std::string format_size(uint64_t bytes);

// "250ms", "1s", "10m", "2h", "7d"; a bare number is seconds.
Result<uint64_t> parse_duration(std::string_view text);
std::string format_duration(uint64_t nanoseconds);

// "30%" or "12.5%": 0 to 100.
Result<double> parse_percentage(std::string_view text);

// Nanoseconds since 1970 as RFC 3339 in UTC, to the second: 2031-05-04T10:20:30Z.
std::string format_time(uint64_t nanoseconds);

}  // namespace lamina
