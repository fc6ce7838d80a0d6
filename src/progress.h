// SPDX-License-Identifier: Apache-2.0
// Progress of something that takes over two seconds, as one line that is written over; nothing
// where standard error is no terminal. Thread-safety: one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace lamina {

// A command that waits for the daemon looks so soon for the first time, and then ever more seldom,
// down to so often.
inline constexpr std::chrono::milliseconds first_poll{20}, between_polls{100};

class Progress {
 public:
  Progress();
  ~Progress();  // takes the line away
  void tell(const std::string& doing, uint64_t done, uint64_t all);

 private:
  using Clock = std::chrono::steady_clock;
  const bool terminal_;
  const Clock::time_point began_;
  Clock::time_point last_{};
  bool shown_ = false;
};

}  // namespace lamina
