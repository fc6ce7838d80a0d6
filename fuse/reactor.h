// SPDX-License-Identifier: Apache-2.0
// One thread's traffic with the kernel: takes requests, runs each as a coroutine on its loop, sends
// the replies with the loop's next turn. Nothing in it waits for anything but the loop.
// Thread-safety: the loop's thread, except failed().
// Ownership: loop, file system and fd are the caller's and outlive it. Lives until the loop has
//   ended: a late failure of a reply is still delivered to it.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "blobs/uring_loop.h"
#include "fuse/file_system.h"
#include "fuse/receiver.h"
#include "fuse/request_slots.h"

namespace lamina {

class Reactor final : private RequestSink {
 public:
  // `ended` is called once, on the loop's thread, when the connection has ended or end() was called
  // and every request under way has been answered.
  static Result<std::unique_ptr<Reactor>> create(UringLoop& loop, FileSystem& files, int fd,
                                                 size_t slot_bytes, bool multishot,
                                                 std::function<void()> ended);

  void start() { receiver_->resume(); }
  // Takes no more requests.
  void end();
  UringLoop& loop() { return loop_; }
  // Replies that the kernel did not take. Some are normal: requests that were interrupted.
  uint64_t failed() const { return replies_.failed.load(std::memory_order_relaxed); }

 private:
  // Hears of replies that failed.
  struct Replies final : RingHandler {
    void complete(int32_t, uint32_t) override { failed.fetch_add(1, std::memory_order_relaxed); }
    std::atomic<uint64_t> failed{0};
  };

  Reactor(UringLoop& loop, FileSystem& files, int fd, RequestSlots slots,
          std::function<void()> ended);
  void accept(RequestSlots::Slot slot, size_t bytes) override;
  void connection_ended() override;
  void receiver_idle() override { check_ended(); }
  Task<void> serve(RequestSlots::Slot slot, size_t bytes);
  RequestSlots::Slot to_small(RequestSlots::Slot slot, size_t bytes);
  void reply(RequestSlots::Slot slot, const Request& request);
  void put_back(RequestSlots::Slot slot, uint32_t position);
  void drop(RequestSlots::Slot slot);
  void check_ended();

  UringLoop& loop_;
  FileSystem& files_;
  const int fd_;
  RequestSlots slots_;
  std::unique_ptr<Receiver> receiver_;
  Replies replies_;
  std::function<void()> ended_;
  uint64_t under_way_ = 0;
  bool ending_ = false;
};

}  // namespace lamina
