// SPDX-License-Identifier: Apache-2.0
#include "base/copy.h"

#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/check.h"

namespace lamina {

void copy_past_cache(const std::byte* from, std::byte* to, size_t bytes) {
#if defined(__SSE2__)
  constexpr size_t line = 64, part = sizeof(__m128i);
  LAMINA_CHECK(reinterpret_cast<uintptr_t>(to) % part == 0 && bytes % line == 0);
  const auto* source = reinterpret_cast<const __m128i*>(from);
  auto* target = reinterpret_cast<__m128i*>(to);
  for (size_t i = 0; i < bytes / part; i += line / part) {
    const __m128i a = _mm_loadu_si128(source + i), b = _mm_loadu_si128(source + i + 1),
                  c = _mm_loadu_si128(source + i + 2), d = _mm_loadu_si128(source + i + 3);
    _mm_stream_si128(target + i, a);
    _mm_stream_si128(target + i + 1, b);
    _mm_stream_si128(target + i + 2, c);
    _mm_stream_si128(target + i + 3, d);
  }
#else
  std::memcpy(to, from, bytes);
#endif
}

}  // namespace lamina
