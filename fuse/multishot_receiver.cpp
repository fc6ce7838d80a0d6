// SPDX-License-Identifier: Apache-2.0
// One IORING_OP_READ_MULTISHOT on /dev/fuse takes request after request into buffers of a ring that
// it shares with the kernel: no system call a request. It ends when the buffers run out, and is
// armed again when some come back.
#include <liburing.h>
#include <sys/mman.h>

#include <cerrno>

#include "base/check.h"
#include "fuse/receiver.h"

namespace lamina {
namespace {

constexpr uint8_t op_read_multishot = 49;  // not yet in the liburing of Debian 12
constexpr uint16_t buffer_group = 1;
constexpr uint32_t ring_entries = 64;
// Offered at a time. More would only spread the requests over colder memory.
constexpr uint32_t max_offered = 32;
static_assert(max_offered <= ring_entries);

class MultishotReceiver final : public Receiver, private RingHandler {
 public:
  MultishotReceiver(UringLoop& loop, RequestSlots& slots, int fd, RequestSink& sink)
      : loop_(loop), slots_(slots), fd_(fd), sink_(sink) {}
  ~MultishotReceiver() override {
    if (ring_ == nullptr) return;
    io_uring_unregister_buf_ring(&loop_.ring(), buffer_group);
    munmap(ring_, ring_bytes);
  }

  Result<> prepare() {
    void* memory =
        mmap(nullptr, ring_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return fail(Code::no_memory, "no memory for a ring of buffers");
    ring_ = static_cast<io_uring_buf_ring*>(memory);
    io_uring_buf_ring_init(ring_);
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<uintptr_t>(ring_);
    registration.ring_entries = ring_entries;
    registration.bgid = buffer_group;
    if (io_uring_register_buf_ring(&loop_.ring(), &registration, 0) == 0) return {};
    munmap(ring_, ring_bytes);
    ring_ = nullptr;
    return fail(Code::unsupported, "the kernel refused a ring of buffers");
  }

  void resume() override {
    if (ended_) return;
    offer();
    if (offered_ == 0 && slots_.any_resting()) nudge_.arm(loop_);
    if (armed_ || offered_ == 0) return;
    io_uring_sqe* sqe = loop_.sqe(*this);
    sqe->opcode = op_read_multishot;
    sqe->fd = fd_;
    sqe->off = 0;
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = buffer_group;
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
  // The cancellation itself; what matters is the end of what it cancels.
  struct Cancelled final : RingHandler {
    void complete(int32_t, uint32_t) override {}
  };
  static constexpr size_t ring_bytes = ring_entries * sizeof(io_uring_buf);

  void offer() {
    int added = 0;
    while (offered_ < max_offered && slots_.has_large(submitted_position(loop_))) {
      const RequestSlots::Slot slot = slots_.take_large();
      io_uring_buf_ring_add(
          ring_, RequestSlots::request_begin(slot), RequestSlots::head + RequestSlots::large_room,
          static_cast<uint16_t>(slot.number), io_uring_buf_ring_mask(ring_entries), added++);
      ++offered_;
    }
    if (added > 0) io_uring_buf_ring_advance(ring_, added);
  }

  void complete(int32_t result, uint32_t flags) override {
    if (!(flags & IORING_CQE_F_MORE)) armed_ = false;
    if (flags & IORING_CQE_F_BUFFER) {
      LAMINA_CHECK(offered_ > 0);
      --offered_;
      const RequestSlots::Slot slot = slots_.large(flags >> IORING_CQE_BUFFER_SHIFT);
      if (result > 0)
        sink_.accept(slot, static_cast<size_t>(result));
      else
        slots_.put_back(slot, submitted_position(loop_));
    }
    if (ended_) {
      if (!armed_) sink_.receiver_idle();
      return;
    }
    // ENODEV: unmounted; ECONNABORTED: aborted. Everything else (ENOBUFS, EINTR, ENOENT of a
    // request that was interrupted while it was read) ends one shot only.
    if (result == 0 || result == -ENODEV || result == -ECONNABORTED || result == -EBADF) {
      ended_ = true;
      sink_.connection_ended();
      return;
    }
    resume();
  }

  UringLoop& loop_;
  RequestSlots& slots_;
  const int fd_;
  RequestSink& sink_;
  Cancelled cancelled_;
  Nudge nudge_{*this};
  io_uring_buf_ring* ring_ = nullptr;
  uint32_t offered_ = 0;
  bool armed_ = false;  // the read is in the ring
  bool ended_ = false;
};

}  // namespace

bool has_multishot_read(UringLoop& loop) {
  if (!(loop.ring().flags & IORING_SETUP_DEFER_TASKRUN)) return false;
  io_uring_probe* probe = io_uring_get_probe_ring(&loop.ring());
  if (probe == nullptr) return false;
  const bool has = io_uring_opcode_supported(probe, op_read_multishot) != 0;
  io_uring_free_probe(probe);
  return has;
}

uint32_t submitted_position(UringLoop& loop) {
  return io_uring_smp_load_acquire(loop.ring().sq.khead);
}

uint32_t queued_position(UringLoop& loop) {
  return loop.ring().sq.sqe_tail;
}

void Nudge::arm(UringLoop& loop) {
  if (armed_) return;
  io_uring_sqe* sqe = loop.sqe(*this);
  io_uring_prep_nop(sqe);
  io_uring_sqe_set_data(sqe, static_cast<RingHandler*>(this));
  armed_ = true;
}

Result<std::unique_ptr<Receiver>> make_multishot_receiver(UringLoop& loop, RequestSlots& slots,
                                                          int fd, RequestSink& sink) {
  auto receiver = std::make_unique<MultishotReceiver>(loop, slots, fd, sink);
  if (Result<> prepared = receiver->prepare(); !prepared) return forward_error(prepared);
  return receiver;
}

}  // namespace lamina
