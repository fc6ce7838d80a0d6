// SPDX-License-Identifier: Apache-2.0
// Opens a pool and serves it as a mount until somebody unmounts it, or SIGTERM or SIGINT comes;
// either way everything is on the medium when it returns.
// Thread-safety: called once, before any thread is started.
// Errors: those of open_blobs, Pool::open and Server::mount, before on_ready; of Pool::close after.
#pragma once

#include <functional>
#include <string>

#include "blobs/file_disk.h"
#include "config/pool_config.h"
#include "daemon_log.h"
#include "mount_options.h"

namespace lamina {

Result<> serve_pool(const PoolConfig& config, const MountOptions& options,
                    const std::string& mount_point, DaemonLog& log,
                    const std::function<void()>& on_ready, OpenDisk open_disk);

}  // namespace lamina
