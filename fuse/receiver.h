// SPDX-License-Identifier: Apache-2.0
// How requests come from the kernel into slots: by multishot read where the kernel has it, else by
// poll and read().
// Thread-safety: the loop's thread. Ownership: slots, loop and sink outlive it.
#pragma once

#include <memory>

#include "blobs/uring_loop.h"
#include "fuse/request_slots.h"

namespace lamina {

// Where requests go.
class RequestSink {
 public:
  // `bytes` of a request lie at RequestSlots::request_begin(slot). The slot is the sink's.
  virtual void accept(RequestSlots::Slot slot, size_t bytes) = 0;
  // The file system is unmounted, or the connection was aborted. Once.
  virtual void connection_ended() = 0;
  // cancel() has taken effect: idle() is true now.
  virtual void receiver_idle() = 0;

 protected:
  ~RequestSink() = default;
};

class Receiver {
 public:
  virtual ~Receiver() = default;
  // Takes requests as long as there are slots; called at the start, and when a slot was put back
  // while waiting() was false.
  virtual void resume() = 0;
  // Whether the next request will be noticed. False while there is no slot to take it.
  virtual bool waiting() const = 0;
  // Takes no more requests.
  virtual void cancel() = 0;
  // Whether nothing of it is in the ring.
  virtual bool idle() const = 0;
};

// With every slot in use or resting nothing would come to say that replies have left: this asks for
// one completion behind them, and then resumes.
class Nudge final : private RingHandler {
 public:
  explicit Nudge(Receiver& receiver) : receiver_(receiver) {}
  void arm(UringLoop& loop);

 private:
  void complete(int32_t, uint32_t) override {
    armed_ = false;
    receiver_.resume();
  }
  Receiver& receiver_;
  bool armed_ = false;
};

// Whether this ring's kernel can: IORING_OP_READ_MULTISHOT (6.7) and task work that runs only when
// it is asked for, which is what makes the order of replies and buffers certain.
bool has_multishot_read(UringLoop& loop);

// How far the kernel has taken the submission queue, and where the next entry goes.
uint32_t submitted_position(UringLoop& loop);
uint32_t queued_position(UringLoop& loop);

// `fd` is /dev/fuse, O_NONBLOCK.
Result<std::unique_ptr<Receiver>> make_multishot_receiver(UringLoop& loop, RequestSlots& slots,
                                                          int fd, RequestSink& sink);
std::unique_ptr<Receiver> make_poll_receiver(UringLoop& loop, RequestSlots& slots, int fd,
                                             RequestSink& sink);

}  // namespace lamina
