// SPDX-License-Identifier: Apache-2.0
// A simulated disk and the executor that drives it: one thread, one seed, virtual time. A volatile
// cache; a crash keeps, drops or tears any subset of unflushed writes at 512 bytes, in any order;
// latent read errors, bit rot, lost, misdirected and stale writes, errors at the n-th call.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>

#include "base/executor.h"
#include "base/task.h"
#include "blobs/disk.h"

namespace lamina {

// Runs coroutines and completes disk operations in an order that the seed decides.
class SimExecutor final : public Executor {
 public:
  explicit SimExecutor(uint64_t seed);
  ~SimExecutor() override;

  // Runs until nothing is ready, no operation is pending and no timer is due before
  // `until_ns`; false: stopped by crash_after().
  bool run(uint64_t until_ns = UINT64_MAX);
  // Runs until `task` has ended. nullopt-like: false if a crash came first; the task is then
  // abandoned where it was.
  template <class T>
  bool run_until(Task<T> task, T& out);

  // After `steps` more completed disk operations everything stops, as if power were cut.
  void crash_after(uint64_t steps);
  bool crashed() const;
  uint64_t steps() const;  // disk operations completed so far

  std::mt19937_64& random();

  void post(std::coroutine_handle<> handle) override;
  void resume_at(uint64_t deadline_ns, std::coroutine_handle<> handle) override;
  uint64_t now_ns() const override;
  uint64_t wall_ns() const override;

 private:
  friend class SimDisk;
  struct State;
  std::unique_ptr<State> state_;
};

// What is on the medium; outlives crashes and the SimDisk.
class SimMedium {
 public:
  SimMedium(std::string name, uint64_t size);
  ~SimMedium();
  const std::string& name() const;
  uint64_t size() const;
  void grow(uint64_t size);

  // As after power-up: exactly what survived. For tests that look or damage.
  void read(uint64_t offset, std::span<std::byte> into) const;
  void damage(uint64_t offset, std::span<const std::byte> bytes);
  void fail_reads(uint64_t offset, uint64_t length);  // latent errors, until written again
  // Applies a power cut to what is not flushed: each 512-byte piece of each unflushed write is
  // kept or not as `random` decides. `kill`: only the process died; completed writes stay.
  void power_cut(std::mt19937_64& random);
  void process_killed(std::mt19937_64& random);

  // Counts since construction.
  uint64_t flushes() const, writes() const;

  // Erase-sized streaming: between two discards of a region registered as a segment every block
  // of it is written at most once and front to back; `excepted` blocks (header and summary
  // places) may be written again. A violation calls `on_violation`, which fails the test.
  struct StreamRegion {
    uint64_t offset, length;                                 // bytes
    std::function<bool(uint32_t block)> excepted;
  };
  void watch(StreamRegion region);
  void on_violation(std::function<void(const std::string&)> report);

 private:
  friend class SimDisk;
  struct State;
  std::unique_ptr<State> state_;
};

// Opens a medium, as FileDisk opens a path.
std::unique_ptr<Disk> open_sim_disk(SimMedium& medium, SimExecutor& executor);

// Faults, checked at each operation; 0 = never. Counts from now.
struct SimFaults {
  uint64_t fail_write_at = 0, fail_read_at = 0, fail_flush_at = 0;  // the n-th call from now: EIO
  bool lie_about_flushes = false;
  double lose_write = 0, misdirect_write = 0;  // probabilities
};
void set_faults(Disk& sim_disk, const SimFaults& faults);

}  // namespace lamina
