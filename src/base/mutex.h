// SPDX-License-Identifier: Apache-2.0
// A mutex that clang's thread-safety analysis knows. Never held over I/O; the order in which
// several are taken is the numbered list in HACKING.md.
#pragma once

#include <mutex>

#if defined(__clang__)
#define LAMINA_TSA(x) __attribute__((x))
#else
#define LAMINA_TSA(x)
#endif

#define CAPABILITY(x) LAMINA_TSA(capability(x))
#define SCOPED_CAPABILITY LAMINA_TSA(scoped_lockable)
#define GUARDED_BY(x) LAMINA_TSA(guarded_by(x))
#define PT_GUARDED_BY(x) LAMINA_TSA(pt_guarded_by(x))
#define REQUIRES(...) LAMINA_TSA(requires_capability(__VA_ARGS__))
#define ACQUIRE(...) LAMINA_TSA(acquire_capability(__VA_ARGS__))
#define RELEASE(...) LAMINA_TSA(release_capability(__VA_ARGS__))
#define TRY_ACQUIRE(...) LAMINA_TSA(try_acquire_capability(__VA_ARGS__))
#define EXCLUDES(...) LAMINA_TSA(locks_excluded(__VA_ARGS__))
#define RETURN_CAPABILITY(x) LAMINA_TSA(lock_returned(x))
#define NO_THREAD_SAFETY_ANALYSIS LAMINA_TSA(no_thread_safety_analysis)

namespace lamina {

class CAPABILITY("mutex") Mutex {
 public:
  void lock() ACQUIRE() { mutex_.lock(); }
  void unlock() RELEASE() { mutex_.unlock(); }
  bool try_lock() TRY_ACQUIRE(true) { return mutex_.try_lock(); }

 private:
  std::mutex mutex_;
};

class SCOPED_CAPABILITY Lock {
 public:
  explicit Lock(Mutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~Lock() RELEASE() { mutex_.unlock(); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace lamina
