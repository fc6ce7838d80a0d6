// SPDX-License-Identifier: Apache-2.0
#include "fuse/server.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <future>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/mutex.h"
#include "fuse/file_system.h"
#include "fuse/mount.h"
#include "fuse/notify.h"
#include "fuse/reactor.h"

namespace lamina {
namespace {

// Goes on on the thread of `executor`, from a thread that may have none.
struct GoTo {
  Executor& executor;
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> handle) const { executor.post(handle); }
  void await_resume() const {}
};

Task<void> end_reactor(Reactor* reactor) {
  co_await GoTo{reactor->loop()};
  reactor->end();
}

std::vector<std::string> mount_options(const ServerOptions& options) {
  // A comma would end the option; the kernel shows the name to people only.
  std::string name = options.pool_name.empty() ? "lamina" : options.pool_name;
  std::ranges::replace(name, ',', '_');
  std::vector<std::string> list{"fsname=" + name, "subtype=lamina", "default_permissions",
                                "nosuid",         "nodev",          "noexec"};
  if (options.allow_other) list.push_back("allow_other");
  if (options.read_only) list.push_back("ro");
  list.insert(list.end(), options.mount_options.begin(), options.mount_options.end());
  return list;
}

// Tests leave out what a user's kernel may not have, whatever program does the mounting.
Result<FeatureSet> without_by_environment() {
  const char* list = std::getenv("LAMINA_FUSE_WITHOUT");
  return parse_features(list == nullptr ? "" : list);
}

}  // namespace

// A reactor with a thread and a loop of its own.
class ReactorThread {
 public:
  using Make = std::function<Result<std::unique_ptr<Reactor>>(UringLoop&)>;

  static Result<std::unique_ptr<ReactorThread>> start(const Make& make, uint32_t reactors) {
    std::unique_ptr<ReactorThread> self(new ReactorThread(reactors));
    std::promise<Result<>> started;
    std::future<Result<>> outcome = started.get_future();
    // Of the thread: whoever waits for the outcome may have it before set_value() has returned.
    self->thread_ = std::thread([started = std::move(started), &make, raw = self.get()]() mutable {
      Result<> ready = raw->prepare(make);
      const bool ok = ready.has_value();
      started.set_value(std::move(ready));
      if (ok) raw->loop_->run();
    });
    Result<> ready = outcome.get();
    if (!ready) return forward_error(ready);
    return self;
  }
  ~ReactorThread() {
    if (loop_) loop_->stop();
    if (thread_.joinable()) thread_.join();
  }
  ReactorThread(const ReactorThread&) = delete;
  ReactorThread& operator=(const ReactorThread&) = delete;

  Reactor& reactor() { return *reactor_; }
  // Begins to take requests.
  void serve() { spawn(serve(reactor_.get())); }

 private:
  explicit ReactorThread(uint32_t reactors) : reactors_(reactors) {}
  static Task<void> serve(Reactor* reactor) {
    co_await GoTo{reactor->loop()};
    reactor->start();
  }
  Result<> prepare(const Make& make) {
    Result<std::unique_ptr<UringLoop>> loop = UringLoop::create(UringLoop::serving(reactors_));
    if (!loop) return forward_error(loop);
    loop_ = std::move(*loop);
    Result<std::unique_ptr<Reactor>> reactor = make(*loop_);
    if (!reactor) return forward_error(reactor);
    reactor_ = std::move(*reactor);
    return {};
  }

  const uint32_t reactors_;  // all there are
  std::unique_ptr<UringLoop> loop_;
  std::unique_ptr<Reactor> reactor_;  // nothing is delivered to it once the loop has stopped
  std::thread thread_;
};

struct Server::State {
  State(Pool& the_pool, UringLoop& the_loop, ServerOptions the_options)
      : pool(the_pool), loop(the_loop), options(std::move(the_options)) {}

  Result<> prepare();
  Result<std::unique_ptr<Reactor>> make_reactor(UringLoop& on);
  void reactor_ended() {
    if (running.fetch_sub(1, std::memory_order_acq_rel) == 1) loop.stop();
  }
  void unmount();

  Pool& pool;
  UringLoop& loop;
  const ServerOptions options;
  bool multishot = false;
  std::unique_ptr<Mount> mount;
  std::unique_ptr<FileSystem> files;
  std::unique_ptr<Notifier> notifier;
  std::unique_ptr<Reactor> first;
  std::vector<std::unique_ptr<ReactorThread>> others;
  std::atomic<uint32_t> running{0};
  std::atomic<bool> served{false};

  Mutex mutex;  // a leaf
  std::thread unmounter GUARDED_BY(mutex);
};

Result<std::unique_ptr<Reactor>> Server::State::make_reactor(UringLoop& on) {
  return Reactor::create(on, *files, mount->fd(), options.request_bytes / options.reactors,
                         multishot, [this] { reactor_ended(); });
}

Result<> Server::State::prepare() {
  FeatureSet transport;
  if (has_multishot_read(loop)) transport.set(index(Feature::multishot));
  multishot = (transport & ~options.without)[index(Feature::multishot)];
  files = std::make_unique<FileSystem>(
      pool, FileSystem::Options{options.without, transport, options.version, options.process,
                                options.on_ready, options.add_blob, options.check_outside,
                                [this](DeviceId id) {
                                  return notifier->write_back(UringLoop::current(),
                                                              device_inode(id));
                                }});

  Result<std::unique_ptr<Mount>> mounted =
      Mount::create(options.mount_point, mount_options(options));
  if (!mounted) return forward_error(mounted);
  mount = std::move(*mounted);
  notifier = std::make_unique<Notifier>(mount->fd());

  Result<std::unique_ptr<Reactor>> made = make_reactor(loop);
  if (!made) return forward_error(made);
  first = std::move(*made);
  for (uint32_t i = 1; i < options.reactors; ++i) {
    const ReactorThread::Make make = [this](UringLoop& on) { return make_reactor(on); };
    Result<std::unique_ptr<ReactorThread>> other = ReactorThread::start(make, options.reactors);
    if (!other) return forward_error(other);
    others.push_back(std::move(*other));
  }
  running = options.reactors;
  pool.on_changed(
      [this](DeviceId id) { notifier->changed(UringLoop::current(), device_inode(id)); });
  return {};
}

void Server::State::unmount() {
  if (mount->unmount() == Mount::Unmounted::gone) return;
  options.log(Settings::Severity::warning,
              "the mount is in use: what is open there is cut off after its last reply");
  spawn(end_reactor(first.get()));
  for (const auto& other : others) spawn(end_reactor(&other->reactor()));
}

Result<std::unique_ptr<Server>> Server::mount(Pool& pool, UringLoop& loop, ServerOptions options) {
  options.reactors = std::max(options.reactors, 1u);
  Result<FeatureSet> without = without_by_environment();
  if (!without) return forward_error(without);
  options.without |= *without;
  auto state = std::make_unique<State>(pool, loop, std::move(options));
  if (Result<> prepared = state->prepare(); !prepared) {
    if (state->mount) state->mount->unmount_unserved();
    return forward_error(prepared);
  }
  return std::unique_ptr<Server>(new Server(std::move(state)));
}

Server::Server(std::unique_ptr<State> state) : state_(std::move(state)) {}

Server::~Server() {
  if (!state_->served) state_->mount->unmount_unserved();
  Lock lock(state_->mutex);
  if (state_->unmounter.joinable()) state_->unmounter.join();
}

void Server::serve() {
  for (const auto& other : state_->others) other->serve();
  state_->first->start();
  state_->loop.run();
  state_->served = true;
}

void Server::stop() {
  Lock lock(state_->mutex);
  if (state_->unmounter.joinable() || state_->served) return;
  state_->unmounter = std::thread([state = state_.get()] { state->unmount(); });
}

KernelFeatures Server::features() const {
  return state_->files->features();
}

uint64_t Server::requests_failed() const {
  uint64_t failed = state_->first->failed();
  for (const auto& other : state_->others) failed += other->reactor().failed();
  return failed;
}

}  // namespace lamina
