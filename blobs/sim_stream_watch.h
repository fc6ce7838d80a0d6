// SPDX-License-Identifier: Apache-2.0
// Watches that segments are streamed: between two discards of a region every block of it is
// written at most once and front to back, some excepted.
// Thread-safety: none. Copies are independent.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "base/units.h"

namespace lamina {

class SimStreamWatch {
 public:
  void watch(uint64_t offset, uint64_t length, std::function<bool(uint32_t block)> excepted);

  // The violation that this write is, or an empty string. Bytes, multiples of a block. What is
  // written in one go may reach across regions.
  std::string write(uint64_t offset, uint64_t length);
  // Regions that lie in it wholly may be written again.
  void discard(uint64_t offset, uint64_t length);

 private:
  struct Region {
    uint64_t end;                                  // in blocks of the disk
    uint64_t next;                                 // the first block that is still unwritten
    std::function<bool(uint32_t block)> excepted;  // counted from the region's start
  };
  std::map<uint64_t, Region> regions_;  // by first block
};

}  // namespace lamina
