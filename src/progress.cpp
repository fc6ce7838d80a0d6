// SPDX-License-Identifier: Apache-2.0
#include "progress.h"

#include <unistd.h>

#include <cstdio>

namespace lamina {
namespace {

constexpr auto patience = std::chrono::seconds(2);
constexpr auto between_lines = std::chrono::milliseconds(200);
constexpr const char* clear_line = "\r\033[K";

}  // namespace

Progress::Progress() : terminal_(isatty(STDERR_FILENO) != 0), began_(Clock::now()) {}

Progress::~Progress() {
  if (shown_) std::fprintf(stderr, "%s", clear_line);
}

void Progress::tell(const std::string& doing, uint64_t done, uint64_t all) {
  const auto now = Clock::now();
  if (!terminal_ || now - began_ < patience || now - last_ < between_lines) return;
  last_ = now;
  shown_ = true;
  std::fprintf(stderr, "%s%s: %llu of %llu", clear_line, doing.c_str(),
               static_cast<unsigned long long>(done), static_cast<unsigned long long>(all));
  std::fflush(stderr);
}

}  // namespace lamina
