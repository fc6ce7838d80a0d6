// SPDX-License-Identifier: Apache-2.0
// Assertions that stay on in release builds: for what only a bug of ours can cause. A stopped
// daemon loses nothing that was durable; a wrong byte would.
#pragma once

namespace lamina {
[[noreturn]] void check_failed(const char* expression, const char* file, int line);
}

#define LAMINA_CHECK(expression) \
  (__builtin_expect(static_cast<bool>(expression), 1) ? void() \
                                   : ::lamina::check_failed(#expression, __FILE__, __LINE__))
