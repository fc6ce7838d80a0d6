// SPDX-License-Identifier: Apache-2.0
#include "serve_pool.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <sstream>
#include <thread>

#include "background_loop.h"
#include "blobs/throttled_disk.h"
#include "blobs/uring_loop.h"
#include "engine/arena_workers.h"
#include "engine/pool.h"
#include "fuse/process.h"
#include "fuse/server.h"
#include "low_space.h"
#include "outside_path.h"
#include "status_report.h"
#include "tools/add_blob.h"
#include "tools/open_pool.h"
#include "version.h"

namespace lamina {
namespace {

using Severity = Settings::Severity;

// Signals that end in a clean unmount, and the one that ends the thread that waits for them.
constexpr int end_of_waiting = SIGUSR2;
constexpr uint32_t most_workers = 16;
constexpr int worker_nice = 10;

sigset_t signals_waited_for() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, end_of_waiting}) sigaddset(&set, signal);
  return set;
}

// Blocks those signals everywhere; a thread of its own takes them. Before any other thread.
void block_signals() {
  const sigset_t set = signals_waited_for();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
}

class SignalThread {
 public:
  SignalThread(Server& server, DaemonLog& log)
      : thread_([&server, &log] {
          const sigset_t set = signals_waited_for();
          int signal = 0;
          while (sigwait(&set, &signal) == 0 && signal != end_of_waiting) {
            log.write(Severity::info, std::string("unmounting: ") + strsignal(signal));
            server.stop();
          }
        }) {}
  ~SignalThread() {
    pthread_kill(thread_.native_handle(), end_of_waiting);
    thread_.join();
  }

 private:
  std::thread thread_;
};

uint32_t reactors_of(const PoolConfig& config, const MountOptions& options) {
  if (options.reactors != 0) return options.reactors;
  if (config.reactors != 0) return config.reactors;
  // Measured on two processors: a second reactor fights the clients for the other one.
  return std::max(1u, std::thread::hardware_concurrency() / 4);
}

uint32_t workers_of(const MountOptions& options) {
  if (options.workers != 0) return options.workers;
  return std::clamp(std::thread::hardware_concurrency(), 1u, most_workers);
}

// What they do can wait; who waits for a reactor cannot.
void make_nice() {
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), worker_nice);
}

ServerOptions server_options(const PoolConfig& config, const MountOptions& options,
                             const std::string& mount_point, const std::string& pool_name) {
  ServerOptions server;
  server.mount_point = mount_point;
  server.pool_name = pool_name;
  server.version = LAMINA_VERSION;
  server.reactors = reactors_of(config, options);
  server.allow_other = options.allow_other;
  server.read_only = options.read_only;
  server.request_bytes = config.memory.requests;
  server.without = options.without;
  server.mount_options = options.to_kernel;
  return server;
}

OpenDisk throttled(OpenDisk open_disk, uint64_t bytes_a_second) {
  return [open_disk = std::move(open_disk), bytes_a_second](
             const std::string& path,
             const FileDiskOptions& options) -> Result<std::unique_ptr<Disk>> {
    auto disk = open_disk(path, options);
    if (!disk) return disk;
    return std::make_unique<ThrottledDisk>(std::move(*disk), bytes_a_second);
  };
}

// `what`: a line each for the name of the blob, the pool file, and, perhaps, "force".
Task<Result<>> add_named_blob(Pool& pool, std::string what) {
  std::istringstream lines(what);
  std::string name, file, force;
  std::getline(lines, name);
  std::getline(lines, file);
  std::getline(lines, force);
  Result<> added;
  if (auto config = load_pool_config(file)) {
    Task<Result<>> adding = add_blob_to(pool, std::move(*config), name, force == "force");
    added = co_await adding;
  } else {
    added = forward_error(config);
  }
  pool.note_refused(added);
  co_return added;
}

Result<> serve_open_pool(Pool& pool, UringLoop& loop, ServerOptions options, DaemonLog& log) {
  auto server = Server::mount(pool, loop, std::move(options));
  if (!server) {
    // Nothing was changed; close() takes back what opening began.
    Result<> closed = loop.run_until(pool.close());
    if (!closed) log.write(Severity::error, "closing the pool: " + closed.error().message);
    return forward_error(server);
  }
  {
    const SignalThread signals(**server, log);
    (*server)->serve();
  }
  return loop.run_until(pool.close());
}

}  // namespace

Result<> serve_pool(const PoolConfig& config, const MountOptions& options,
                    const std::string& mount_point, DaemonLog& log,
                    const std::function<void()>& on_ready, OpenDisk open_disk) {
  block_signals();
  const ProcessStatus process = prepare_process();
  auto loop = UringLoop::create(UringLoop::serving(reactors_of(config, options)));
  if (!loop) return forward_error(loop);
  auto background = BackgroundLoop::start();
  if (!background) return forward_error(background);
  ArenaWorkers workers(workers_of(options), make_nice), readers(workers_of(options), [] {});
  if (options.throttle > 0) open_disk = throttled(open_disk, options.throttle);
  auto opened = (*loop)->run_until(open_blobs(config, options.read_only, open_disk, false));
  if (!opened) return std::unexpected(explain_use(config, opened.error()));
  for (const std::string& warning : opened->warnings) log.write(Severity::warning, warning);

  Settings settings = engine_settings(config);
  settings.read_only = options.read_only;
  settings.force = options.force;
  settings.absent = opened->absent;
  settings.background = &(*background)->executor();
  settings.workers = &workers;
  settings.readers = &readers;
  settings.log = [&log](Severity severity, const std::string& message) {
    log.write(severity, message);
  };
  const std::string name = opened->pool_name;
  LowSpace low_space(config, name, mount_point, log);
  settings.on_fullness = [&low_space](const FullnessWatch::Change& change) {
    low_space.tell(change);
  };
  auto pool = (*loop)->run_until(Pool::open(std::move(opened->blobs), settings));
  if (!pool) return forward_error(pool);

  ServerOptions server = server_options(config, options, mount_point, name);
  server.process = process;
  server.log = settings.log;
  server.on_ready = [&] {
    log.write(Severity::info, "serving " + name + " at " + mount_point);
    log.leave_terminal();
    on_ready();
  };
  server.check_outside = [&mount_point](const std::string& path) {
    return check_outside_mount(path, mount_point);
  };
  server.add_blob = [&pool](std::string what) { return add_named_blob(**pool, std::move(what)); };
  const Result<> served = serve_open_pool(**pool, **loop, std::move(server), log);
  if (served)
    log.write(Severity::info, "unmounted " + mount_point + ", everything is on the medium");
  return served;
}

}  // namespace lamina
