// SPDX-License-Identifier: Apache-2.0
// Watches that segments are streamed: between two discards of a region every block of it is
// written at most once and front to back, some excepted. A recovery may repeat what an earlier
// life wrote, as it is (A19).
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
  // Nothing from here on is a region any more.
  void unwatch_from(uint64_t offset);

  // The violation that this write is, or an empty string. Bytes, multiples of a block. What is
  // written in one go may reach across regions. `repeats` is asked only where it decides: whether
  // the medium holds these very bytes already.
  std::string write(uint64_t offset, uint64_t length, const std::function<bool()>& repeats);
  // A new life begins: what has been written so far was written by an earlier one.
  void opened();
  // Regions that lie in it wholly may be written again.
  void discard(uint64_t offset, uint64_t length);

 private:
  struct Region {
    uint64_t end;                                  // in blocks of the disk
    uint64_t next;                                 // the first block that is still unwritten
    uint64_t inherited;                            // blocks before this one an earlier life wrote
    std::function<bool(uint32_t block)> excepted;  // counted from the region's start
  };
  std::map<uint64_t, Region> regions_;  // by first block
};

}  // namespace lamina
