// SPDX-License-Identifier: Apache-2.0
#include "low_space.h"

#include <utility>

#include "config/quantity.h"

namespace lamina {

LowSpace::LowSpace(const PoolConfig& config, std::string pool, std::string mount_point,
                   DaemonLog& log)
    : pool_(std::move(pool)),
      mount_point_(std::move(mount_point)),
      pool_file_(config.file),
      log_(log) {
  if (!config.on_low_space.empty())
    program_ = std::make_unique<OutsideProgram>(config.on_low_space, log);
}

void LowSpace::tell(const FullnessWatch::Change& change) {
  const Fullness& now = change.now;
  const std::string space = format_size(now.free) + " of " + format_size(now.size) + " are free";
  if (!change.rose) {
    log_.write(Settings::Severity::info,
               (now.percent == 0 ? "space is no longer short: "
                                 : "less than before, but still " + std::to_string(now.percent) +
                                       " % of the space is used: ") +
                   space);
    return;
  }
  const bool full = now.percent == FullnessWatch::steps.back();
  log_.write(full ? Settings::Severity::error : Settings::Severity::warning,
             (full ? std::string("the pool is full, new data is refused: ")
                   : std::to_string(now.percent) + " % of the space is used: ") +
                 space + "; delete devices, discard (fstrim) in them, or make the pool larger " +
                 "(`lamina blob grow " + pool_file_ + "`)");
  if (program_)
    program_->run({"LAMINA_POOL=" + pool_, "LAMINA_MOUNT=" + mount_point_,
                   "LAMINA_USED_PERCENT=" + std::to_string(now.percent),
                   "LAMINA_FREE_BYTES=" + std::to_string(now.free),
                   "LAMINA_SIZE_BYTES=" + std::to_string(now.size)});
}

}  // namespace lamina
