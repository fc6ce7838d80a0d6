// SPDX-License-Identifier: Apache-2.0
// Tasks that sleep and then tell: what every executor has to bring to an end.
#pragma once

#include <cstdint>
#include <vector>

#include "base/executor.h"
#include "base/task.h"

namespace lamina {

inline Task<int> sleep_and_answer(uint64_t ns, int answer) {
  co_await Sleep{ns};
  co_return answer;
}

inline Task<void> note_after(uint64_t ns, int what, std::vector<int>& notes) {
  co_await Sleep{ns};
  notes.push_back(what);
}

}  // namespace lamina
