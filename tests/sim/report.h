// SPDX-License-Identifier: Apache-2.0
// The first promise that a run saw broken, and what led to it. Later ones are consequences.
// Thread-safety: none.
#pragma once

#include <string>
#include <utility>

namespace lamina::sim {

class Report {
 public:
  void violation(std::string what) {
    if (what_.empty()) what_ = std::move(what);
  }
  bool ok() const { return what_.empty(); }
  const std::string& what() const { return what_; }

 private:
  std::string what_;
};

}  // namespace lamina::sim
