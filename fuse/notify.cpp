// SPDX-License-Identifier: Apache-2.0
#include "fuse/notify.h"

#include <liburing.h>

namespace lamina {

// Lives until the kernel has taken it.
struct Notifier::Message final : RingHandler {
  Message(Notifier& notifier, Inode inode) : owner(notifier) {
    header.len = sizeof header + sizeof invalidated;
    header.error = FUSE_NOTIFY_INVAL_INODE;
    invalidated.ino = raw(inode);
    invalidated.off = 0;  // from the beginning
    invalidated.len = 0;  // to the end
  }
  void complete(int32_t, uint32_t) override {
    owner.under_way_.fetch_sub(1, std::memory_order_relaxed);
    delete this;
  }
  Notifier& owner;
  // One after the other: they are sent as they lie here.
  fuse_out_header header{};
  fuse_notify_inval_inode_out invalidated{};
};

void Notifier::changed(UringLoop& loop, Inode inode) {
  if (under_way_.fetch_add(1, std::memory_order_relaxed) >= max_under_way) {
    under_way_.fetch_sub(1, std::memory_order_relaxed);
    return;
  }
  auto* message = new Message(*this, inode);
  static_assert(offsetof(fuse_out_header, unique) + sizeof(uint64_t) == sizeof(fuse_out_header));
  io_uring_sqe* sqe = loop.sqe(*message);
  io_uring_prep_write(sqe, fd_, &message->header, message->header.len, 0);
  io_uring_sqe_set_data(sqe, static_cast<RingHandler*>(message));
  // By a worker of the kernel: it may write dirty pages back, through this very daemon, first.
  sqe->flags |= IOSQE_ASYNC;
}

}  // namespace lamina
