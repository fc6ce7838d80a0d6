// SPDX-License-Identifier: Apache-2.0
#include "blobs/uring_loop.h"

#include <sched.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <deque>
#include <fstream>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/mutex.h"

namespace lamina {
namespace {

// Rounds of what coroutines post to their own thread before completions are looked at again: a
// chain of resumptions costs no system call, a loop of Yields starves nobody.
constexpr int rounds_per_turn = 64;
// Operations of disks that are submitted together, and of those that have ended how many are
// delivered in a turn. Fewer cost more system calls than the disk's idle time is worth.
constexpr unsigned disk_batch = 8;
// In a user_data, of which handlers leave the lowest bit free: an operation of a disk.
constexpr uint64_t disk_tag = 1;

// Polling begins with so much, and doubles.
constexpr uint64_t first_poll_ns = 10'000;
constexpr uint64_t serving_poll_limit_ns = 200'000;
constexpr int pauses_per_look = 16;

thread_local UringLoop* running_loop = nullptr;

struct Timer {
  uint64_t deadline_ns;
  uint64_t order;  // the first to wait is the first to go on
  std::coroutine_handle<> handle;
  friend bool operator<(const Timer& a, const Timer& b) {  // for a heap with the earliest on top
    return a.deadline_ns != b.deadline_ns ? a.deadline_ns > b.deadline_ns : a.order > b.order;
  }
};

struct Delivery {
  RingHandler* handler;
  int32_t result;
  uint32_t flags;
  void deliver() const { handler->complete(result, flags); }
};

// Wakes the loop from other threads: an eventfd that is read in the ring.
class Doorbell final : public RingHandler {
 public:
  Doorbell() : fd_(eventfd(0, EFD_CLOEXEC)) { LAMINA_CHECK(fd_ >= 0); }
  ~Doorbell() { close(fd_); }
  Doorbell(const Doorbell&) = delete;
  Doorbell& operator=(const Doorbell&) = delete;

  void ring() const {
    const uint64_t one = 1;
    const ssize_t written = ::write(fd_, &one, sizeof one);
    LAMINA_CHECK(written == sizeof one || errno == EINTR);
  }
  void arm(UringLoop& loop) {
    io_uring_prep_read(loop.sqe(*this), fd_, &count_, sizeof count_, 0);
    armed_ = true;
  }
  bool armed() const { return armed_; }
  void complete(int32_t, uint32_t) override { armed_ = false; }

 private:
  int fd_;
  uint64_t count_ = 0;
  bool armed_ = false;
};

int io_uring_sysctl() {
  int value = -1;
  std::ifstream("/proc/sys/kernel/io_uring_disabled") >> value;
  return value;
}

// The first of these that the kernel knows. The ring starts disabled, because with
// SINGLE_ISSUER it belongs to the thread that enables it, and that is the one that runs.
struct Setup {
  const char* name;
  uint32_t flags;
};
constexpr std::array<Setup, 3> setups = {{
    {"defer_taskrun", IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                          IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_R_DISABLED |
                          IORING_SETUP_SUBMIT_ALL},
    {"coop_taskrun", IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_R_DISABLED},
    {"plain", IORING_SETUP_R_DISABLED},
}};

}  // namespace

std::string explain_refused_io_uring(int error_number, int sysctl) {
  const std::string refused = "io_uring is not available: ";
  if (error_number == ENOSYS)
    return refused +
           "the kernel has none, or a seccomp filter hides it. Use a kernel of 5.17 or newer, and "
           "in a container allow the system calls io_uring_setup, io_uring_enter and "
           "io_uring_register (docker: --security-opt seccomp=unconfined)";
  if (error_number == EPERM && sysctl == 2)
    return refused +
           "the sysctl kernel.io_uring_disabled is 2. Run `sysctl -w kernel.io_uring_disabled=0`";
  if (error_number == EPERM && sysctl == 1)
    return refused +
           "the sysctl kernel.io_uring_disabled is 1, which allows it to root and to the group "
           "kernel.io_uring_group alone. Run as root, join that group, or run `sysctl -w "
           "kernel.io_uring_disabled=0`";
  if (error_number == EPERM || error_number == EACCES)
    return refused +
           "a seccomp filter or security module forbids it. In a container allow the system calls "
           "io_uring_setup, io_uring_enter and io_uring_register (docker: --security-opt "
           "seccomp=unconfined)";
  if (error_number == ENOMEM)
    return refused +
           "no memory may be locked for its rings. Raise the limit (ulimit -l unlimited, or "
           "LimitMEMLOCK=infinity in the systemd unit)";
  if (error_number == EMFILE || error_number == ENFILE)
    return refused + "too many open files. Raise the limit (ulimit -n)";
  return refused + std::strerror(error_number);
}

struct UringLoop::State {
  ~State() {
    if (ring_exists) io_uring_queue_exit(&ring);
  }

  void before_submitting();
  void take_completions();
  void adapt_polling(uint64_t waited_ns);
  bool stop_now() const { return stoppable && stopping.load(std::memory_order_acquire); }

  io_uring ring{};
  const char* setup_name = "";
  std::vector<io_uring_sqe*> quiet;  // queued, not submitted
  unsigned disk_queued = 0;          // of disks, likewise
  bool ring_exists = false;
  bool enabled = false;  // bound to its thread
  Doorbell doorbell;

  std::vector<std::coroutine_handle<>> ready, running;
  std::vector<Timer> timers;  // a heap
  uint64_t timers_made = 0;
  // Taken from the ring and not delivered yet: of disks, in the order of their ends; the rest.
  std::deque<Delivery> ended_on_disks;
  std::vector<Delivery> arrived, delivering;

  uint64_t poll_limit_ns = 0, poll_ns = 0;
  bool stoppable = false;  // in run(), not in run_until()
  std::atomic<bool> stopping = false;
  std::atomic<bool> any_remote = false;
  Mutex mutex;
  std::vector<std::coroutine_handle<>> remote GUARDED_BY(mutex);
};

Result<std::unique_ptr<UringLoop>> UringLoop::create(Options options) {
  auto state = std::make_unique<State>();
  state->poll_limit_ns = options.poll_limit_ns;
  int result = -EINVAL;
  for (size_t i = options.skip_setups; i < setups.size(); ++i) {
    state->setup_name = setups[i].name;
    io_uring_params parameters{};
    parameters.flags = setups[i].flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    parameters.cq_entries = 4 * options.entries;  // multishot requests complete many times
    result = io_uring_queue_init_params(options.entries, &state->ring, &parameters);
    if (result != -EINVAL) break;
  }
  if (result < 0)
    return fail(Code::unsupported, explain_refused_io_uring(-result, io_uring_sysctl()));
  state->ring_exists = true;
  constexpr uint32_t needed = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP;
  if ((state->ring.features & needed) != needed)
    return fail(Code::unsupported,
                "the io_uring of this kernel is too old: Linux 5.17 or newer is needed");
  return std::unique_ptr<UringLoop>(new UringLoop(std::move(state)));
}

UringLoop::UringLoop(std::unique_ptr<State> state) : state_(std::move(state)) {}
UringLoop::~UringLoop() {
  LAMINA_CHECK(running_loop != this);
}

io_uring& UringLoop::ring() {
  return state_->ring;
}

const char* UringLoop::setup_name() const {
  return state_->setup_name;
}

UringLoop& UringLoop::current() {
  LAMINA_CHECK(running_loop != nullptr && &Executor::current() == running_loop);
  return *running_loop;
}

io_uring_sqe* UringLoop::sqe(RingHandler& handler) {
  io_uring_sqe* entry = io_uring_get_sqe(&state_->ring);
  while (entry == nullptr) {
    submit_queued();
    entry = io_uring_get_sqe(&state_->ring);
  }
  std::memset(entry, 0, sizeof *entry);    // for those who fill it by hand
  io_uring_sqe_set_data(entry, &handler);  // io_uring_prep_*() leave it alone
  return entry;
}

io_uring_sqe* UringLoop::disk_sqe(RingHandler& handler) {
  State& s = *state_;
  if (s.disk_queued >= disk_batch && s.enabled) submit_queued();
  ++s.disk_queued;
  io_uring_sqe* const entry = sqe(handler);
  entry->user_data |= disk_tag;
  return entry;
}

io_uring_sqe* UringLoop::quiet_sqe(RingHandler& handler) {
  io_uring_sqe* const entry = sqe(handler);
  state_->quiet.push_back(entry);
  return entry;
}

void UringLoop::State::adapt_polling(uint64_t waited_ns) {
  if (waited_ns > poll_limit_ns)
    poll_ns = 0;
  else
    poll_ns = std::min(poll_limit_ns, std::max(2 * poll_ns, first_poll_ns));
}

// The flag is set as the last thing, because io_uring_prep_*() clear flags.
void UringLoop::State::before_submitting() {
  for (io_uring_sqe* const entry : quiet) entry->flags |= IOSQE_CQE_SKIP_SUCCESS;
  quiet.clear();
  disk_queued = 0;
}

// Makes room in the submission queue in the middle of a turn. The kernel may want completions
// taken first; they are delivered later, because no handler may run in here.
void UringLoop::submit_queued() {
  State& s = *state_;
  LAMINA_CHECK(s.enabled);  // before that, a thousand entries are enough for anybody
  s.before_submitting();
  const int result = io_uring_submit(&s.ring);
  if (result > 0) return;
  LAMINA_CHECK(result == -EBUSY || result == -EAGAIN || result == -EINTR);
  io_uring_get_events(&s.ring);
  s.take_completions();
}

UringLoop::Options UringLoop::serving(uint32_t loops) {
  Options options;
  if (std::thread::hardware_concurrency() > loops) options.poll_limit_ns = serving_poll_limit_ns;
  return options;
}

// Whether a completion came while it looked. Whoever wants the processor gets it in between.
bool UringLoop::poll(uint64_t since_ns) {
  State& s = *state_;
  while (now_ns() - since_ns < s.poll_ns) {
    if ((IO_URING_READ_ONCE(*s.ring.sq.kflags) & IORING_SQ_TASKRUN) != 0)
      io_uring_get_events(&s.ring);
    if (io_uring_cq_ready(&s.ring) > 0) return true;
    for (int i = 0; i < pauses_per_look; ++i) __builtin_ia32_pause();
    sched_yield();
  }
  return false;
}

// Submits what is queued; until a completion or `deadline_ns`.
int UringLoop::sleep_until(uint64_t deadline_ns) {
  io_uring& ring = state_->ring;
  if (deadline_ns == UINT64_MAX) return io_uring_submit_and_wait(&ring, 1);
  const uint64_t now = now_ns();
  const uint64_t wait = deadline_ns > now ? deadline_ns - now : 0;
  __kernel_timespec timeout{static_cast<int64_t>(wait / 1'000'000'000),
                            static_cast<long long>(wait % 1'000'000'000)};
  io_uring_cqe* entry;
  return io_uring_submit_and_wait_timeout(&ring, &entry, 1, &timeout, nullptr);
}

// Submits, and waits for a completion or the next timer if there is nothing else to do.
void UringLoop::enter() {
  State& s = *state_;
  s.before_submitting();
  int result;
  if (!s.ready.empty() || !s.arrived.empty() || !s.ended_on_disks.empty() || s.stop_now()) {
    result = io_uring_submit_and_get_events(&s.ring);
  } else {
    const uint64_t began = now_ns();
    const uint64_t deadline = s.timers.empty() ? UINT64_MAX : s.timers.front().deadline_ns;
    if (s.poll_ns > 0 && deadline > began + s.poll_ns) {
      result = io_uring_submit_and_get_events(&s.ring);
      if (io_uring_cq_ready(&s.ring) > 0 || poll(began)) return;
    }
    result = sleep_until(deadline);
    s.adapt_polling(now_ns() - began);
  }
  // EBUSY and EAGAIN: the kernel wants completions taken, or memory: the next turn tries again.
  LAMINA_CHECK(result >= 0 || result == -ETIME || result == -EINTR || result == -EBUSY ||
               result == -EAGAIN);
}

// So the queue is free early, and a handler may queue and submit as it likes.
void UringLoop::State::take_completions() {
  std::array<io_uring_cqe*, 64> entries;
  unsigned count;
  while ((count = io_uring_peek_batch_cqe(&ring, entries.data(), entries.size())) > 0) {
    for (unsigned i = 0; i < count; ++i) {
      const uint64_t data = entries[i]->user_data;
      const Delivery one{reinterpret_cast<RingHandler*>(data & ~disk_tag), entries[i]->res,
                         entries[i]->flags};
      if ((data & disk_tag) != 0)
        ended_on_disks.push_back(one);
      else
        arrived.push_back(one);
    }
    io_uring_cq_advance(&ring, count);
  }
}

// New requests first, because they give the disks work, then a few that the disks have done with:
// their replies bring the next requests. Who answers thirty at once has an idle disk meanwhile.
void UringLoop::deliver() {
  State& s = *state_;
  s.take_completions();
  s.delivering.swap(s.arrived);
  for (const Delivery& one : s.delivering) one.deliver();
  s.delivering.clear();
  for (unsigned i = 0; i < disk_batch && !s.ended_on_disks.empty(); ++i) {
    const Delivery one = s.ended_on_disks.front();
    s.ended_on_disks.pop_front();
    one.deliver();
  }
}

void UringLoop::take_remote() {
  State& s = *state_;
  if (!s.any_remote.load(std::memory_order_acquire)) return;
  const Lock lock(s.mutex);
  s.any_remote.store(false, std::memory_order_relaxed);
  s.ready.insert(s.ready.end(), s.remote.begin(), s.remote.end());
  s.remote.clear();
}

void UringLoop::fire_timers() {
  State& s = *state_;
  if (s.timers.empty()) return;
  const uint64_t now = now_ns();
  while (!s.timers.empty() && s.timers.front().deadline_ns <= now) {
    std::pop_heap(s.timers.begin(), s.timers.end());
    s.ready.push_back(s.timers.back().handle);
    s.timers.pop_back();
  }
}

void UringLoop::run_ready() {
  State& s = *state_;
  for (int round = 0; round < rounds_per_turn && !s.ready.empty(); ++round) {
    s.running.swap(s.ready);
    for (const std::coroutine_handle<> handle : s.running) handle.resume();
    s.running.clear();
  }
}

void UringLoop::turn() {
  State& s = *state_;
  if (!s.doorbell.armed()) s.doorbell.arm(*this);
  enter();
  deliver();
  take_remote();
  fire_timers();
  run_ready();
}

void UringLoop::run_while_not(const bool& done) {
  State& s = *state_;
  LAMINA_CHECK(running_loop == nullptr);  // one loop a thread, and no run inside a run
  running_loop = this;
  Executor* const before = set_current(this);
  if (!s.enabled) {
    // io_uring_enable_rings() is declared by liburing 2.3, but not in its library.
    const long result =
        syscall(SYS_io_uring_register, s.ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
    LAMINA_CHECK(result == 0);
    s.enabled = true;
  }
  while (!done && !s.stop_now()) turn();
  s.before_submitting();
  (void)io_uring_submit(&s.ring);
  set_current(before);
  running_loop = nullptr;
}

void UringLoop::run() {
  const bool never = false;
  state_->stoppable = true;
  run_while_not(never);
  state_->stoppable = false;
  state_->stopping = false;
}

void UringLoop::stop() {
  state_->stopping.store(true, std::memory_order_release);
  if (running_loop != this) state_->doorbell.ring();
}

void UringLoop::post(std::coroutine_handle<> handle) {
  State& s = *state_;
  if (running_loop == this) {
    s.ready.push_back(handle);
    return;
  }
  // Rung with the mutex held: what is posted may be the last thing that the loop lives for, and goes
  // on only after this.
  const Lock lock(s.mutex);
  const bool first = s.remote.empty();
  s.remote.push_back(handle);
  s.any_remote.store(true, std::memory_order_release);
  if (first) s.doorbell.ring();
}

void UringLoop::resume_at(uint64_t deadline_ns, std::coroutine_handle<> handle) {
  State& s = *state_;
  s.timers.push_back({deadline_ns, s.timers_made++, handle});
  std::push_heap(s.timers.begin(), s.timers.end());
}

uint64_t UringLoop::now_ns() const {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                   std::chrono::steady_clock::now().time_since_epoch())
                                   .count());
}

// As old as the last tick, like the times that the kernel gives to files: each entry of the log asks.
uint64_t UringLoop::wall_ns() const {
  timespec now{};
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace lamina
