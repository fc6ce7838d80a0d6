// SPDX-License-Identifier: Apache-2.0
// A pool as a mounted file system: mounts, serves the kernel's requests until it is unmounted or
// stopped.
// Thread-safety: stop(), features() and requests_failed() from any thread (not from a signal
//   handler); the rest from the thread of the loop that it was given.
// Ownership: pool and loop are the caller's and outlive it. Keep the server until the pool has been
//   closed: the loops of its further reactors turn until it is destroyed, as work of the pool may
//   live on them.
// Durability: nothing of its own; close the pool after serve().
// Errors: mount() fails with not_found (mount point), unsupported (io_uring, FUSE), access, io.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "blobs/uring_loop.h"
#include "engine/pool.h"
#include "fuse/kernel_features.h"
#include "fuse/process.h"

namespace lamina {

struct ServerOptions {
  std::string mount_point;
  std::string pool_name;     // shown as the source of the mount
  std::string version;       // what .lamina/version says
  uint32_t reactors = 1;     // threads that talk to the kernel, the caller's included
  bool allow_other = false;  // users other than the one who mounts may look in
  bool read_only = false;
  uint64_t request_bytes = 64 * mib;  // memory for requests under way, of all reactors together
  // What is not to be used although the kernel has it; mount() adds what the environment names in
  // LAMINA_FUSE_WITHOUT, as a list with commas.
  FeatureSet without;
  std::vector<std::string> mount_options;               // further ones, passed on to the kernel
  ProcessStatus process;                                // for .lamina/status.json
  std::function<void()> on_ready;                       // called once the mount answers
  std::function<Task<Result<>>(std::string)> add_blob;  // as FileSystem's
  std::function<Result<>(const std::string&)> check_outside;  // likewise
  std::function<void(Settings::Severity, const std::string&)> log = [](Settings::Severity,
                                                                       const std::string&) {};
};

class Server {
 public:
  // Mounts; requests wait until serve().
  static Result<std::unique_ptr<Server>> mount(Pool& pool, UringLoop& loop, ServerOptions options);
  ~Server();  // unmounts if that has not happened

  // Turns the loop until the file system is unmounted, from outside or by stop().
  void serve();
  // Unmounts, at once if nothing uses the mount, else lazily: what was answered stays, what is open
  // gets ENOTCONN. serve() then returns.
  void stop();

  KernelFeatures features() const;
  uint64_t requests_failed() const;  // replies that the kernel did not take

 private:
  struct State;
  explicit Server(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace lamina
