// SPDX-License-Identifier: Apache-2.0
// For kernels without multishot read: a poll in the ring says that there are requests, read() takes
// them until there are none.
#include <poll.h>
#include <unistd.h>

#include <cerrno>

#include "fuse/receiver.h"

namespace lamina {
namespace {

// Requests taken at one go, before their replies are sent and disks are looked after.
constexpr int max_reads_a_turn = 32;

class PollReceiver final : public Receiver, private RingHandler {
 public:
  PollReceiver(UringLoop& loop, RequestSlots& slots, int fd, RequestSink& sink)
      : loop_(loop), slots_(slots), fd_(fd), sink_(sink) {}

  void resume() override {
    if (armed_ || ended_) return;
    if (!slots_.has_large(submitted_position(loop_))) {
      if (slots_.any_resting()) nudge_.arm(loop_);
      return;
    }
    io_uring_sqe* sqe = loop_.sqe(*this);
    io_uring_prep_poll_add(sqe, fd_, POLLIN);
    io_uring_sqe_set_data(sqe, static_cast<RingHandler*>(this));
    armed_ = true;
  }
  bool waiting() const override { return armed_; }

  void cancel() override {
    ended_ = true;
    if (!armed_) return;
    io_uring_sqe* sqe = loop_.quiet_sqe(cancelled_);
    io_uring_prep_cancel(sqe, static_cast<RingHandler*>(this), 0);
    io_uring_sqe_set_data(sqe, &cancelled_);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
  }
  bool idle() const override { return !armed_; }

 private:
  struct Cancelled final : RingHandler {
    void complete(int32_t, uint32_t) override {}
  };

  void complete(int32_t, uint32_t) override {
    armed_ = false;
    if (ended_) return sink_.receiver_idle();
    for (int i = 0; i < max_reads_a_turn && slots_.has_large(submitted_position(loop_)); ++i) {
      const RequestSlots::Slot slot = slots_.take_large();
      const ssize_t bytes = read(fd_, RequestSlots::request_begin(slot),
                                 RequestSlots::head + RequestSlots::large_room);
      if (bytes > 0) {
        sink_.accept(slot, static_cast<size_t>(bytes));
        continue;
      }
      const int error = bytes < 0 ? errno : ENODEV;
      slots_.put_back(slot, submitted_position(loop_));
      if (error == EAGAIN) break;
      if (error == ENODEV || error == ECONNABORTED || error == EBADF) {
        ended_ = true;
        return sink_.connection_ended();
      }
    }
    resume();
  }

  UringLoop& loop_;
  RequestSlots& slots_;
  const int fd_;
  RequestSink& sink_;
  Cancelled cancelled_;
  Nudge nudge_{*this};
  bool armed_ = false;
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<Receiver> make_poll_receiver(UringLoop& loop, RequestSlots& slots, int fd,
                                             RequestSink& sink) {
  return std::make_unique<PollReceiver>(loop, slots, fd, sink);
}

}  // namespace lamina
