// SPDX-License-Identifier: Apache-2.0
#include "engine/arena_workers.h"

#include <tbb/global_control.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>
#include <tbb/task_scheduler_observer.h>

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

#include <memory>
#include <utility>

namespace lamina {
namespace {

// TBB's library is not instrumented: ThreadSanitizer has to be told what it orders.
#if defined(__SANITIZE_THREAD__)
void give(void* what) {
  __tsan_release(what);
}
void take(void* what) {
  __tsan_acquire(what);
}
// Nor does it know in what order TBB frees what its own threads share, when the last of them ends.
// Only what the library itself does is left out: not what it runs, whose stacks lead through it.
extern "C" const char* __tsan_default_suppressions() {
  return "called_from_lib:libtbb.so\n";
}
#else
void give(void*) {}
void take(void*) {}
#endif

}  // namespace

struct ArenaWorkers::Arena {
  class OnThread final : public tbb::task_scheduler_observer {
   public:
    OnThread(tbb::task_arena& arena, std::function<void()> on_thread)
        : tbb::task_scheduler_observer(arena), on_thread_(std::move(on_thread)) {
      give(this);
      observe(true);
    }
    ~OnThread() override {
      observe(false);  // and waits for those that are in here
      take(this);
    }
    void on_scheduler_entry(bool) override {
      take(this);
      if (on_thread_) on_thread_();
      give(this);
    }

   private:
    const std::function<void()> on_thread_;
  };

  Arena(unsigned threads, std::function<void()> on_thread)
      : limit(tbb::global_control::max_allowed_parallelism, threads + 1),
        arena(static_cast<int>(threads), 0, tbb::task_arena::priority::low),
        observer(arena, std::move(on_thread)) {}

  // Who starts jobs here is no thread of TBB's, which counts it all the same.
  tbb::global_control limit;
  tbb::task_arena arena;
  tbb::task_group jobs;
  OnThread observer;
};

ArenaWorkers::ArenaWorkers(unsigned threads, std::function<void()> on_thread)
    : threads_(threads), arena_(std::make_unique<Arena>(threads, std::move(on_thread))) {}

// What a job has signalled may have gone on and ended already, before the job has.
// Where all places are taken, a worker waits in our stead.
ArenaWorkers::~ArenaWorkers() {
  give(this);
  arena_->arena.execute([this] {
    take(this);
    arena_->jobs.wait();
    give(this);
  });
  take(this);
}

unsigned ArenaWorkers::count() const {
  return threads_;
}

void ArenaWorkers::start(std::function<void()> job) {
  auto* const given = new std::function<void()>(std::move(job));
  give(given);
  arena_->arena.enqueue(arena_->jobs.defer([given] {
    take(given);
    const std::unique_ptr<std::function<void()>> taken(given);
    (*taken)();
  }));
}

}  // namespace lamina
