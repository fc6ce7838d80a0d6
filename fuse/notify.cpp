// SPDX-License-Identifier: Apache-2.0
#include "fuse/notify.h"

#include <liburing.h>

namespace lamina {

struct Notifier::Message : RingHandler {
  explicit Message(Inode inode) {
    header.len = sizeof header + sizeof invalidated;
    header.error = FUSE_NOTIFY_INVAL_INODE;
    invalidated.ino = raw(inode);
    invalidated.off = 0;  // from the beginning
    invalidated.len = 0;  // to the end
  }
  void send(UringLoop& loop, int fd) {
    io_uring_sqe* sqe = loop.sqe(*this);
    io_uring_prep_write(sqe, fd, &header, header.len, 0);
    io_uring_sqe_set_data(sqe, static_cast<RingHandler*>(this));
    // By a worker of the kernel: it may write dirty pages back, through this very daemon, first.
    sqe->flags |= IOSQE_ASYNC;
  }
  // One after the other: they are sent as they lie here.
  fuse_out_header header{};
  fuse_notify_inval_inode_out invalidated{};
  static_assert(offsetof(fuse_out_header, unique) + sizeof(uint64_t) == sizeof(fuse_out_header));
};

// Lives until the kernel has taken it.
struct Notifier::Sent final : Message {
  Sent(Notifier& notifier, Inode inode) : Message(inode), owner(notifier) {}
  void complete(int32_t, uint32_t) override {
    owner.under_way_.fetch_sub(1, std::memory_order_relaxed);
    delete this;
  }
  Notifier& owner;
};

struct Notifier::Awaited final : Message {
  using Message::Message;
  void complete(int32_t, uint32_t) override { taken.signal(); }
  Completion taken;
};

void Notifier::changed(UringLoop& loop, Inode inode) {
  if (under_way_.fetch_add(1, std::memory_order_relaxed) >= max_under_way) {
    under_way_.fetch_sub(1, std::memory_order_relaxed);
    return;
  }
  (new Sent(*this, inode))->send(loop, fd_);
}

Task<void> Notifier::write_back(UringLoop& loop, Inode inode) {
  Awaited message(inode);
  message.send(loop, fd_);
  co_await message.taken;
}

}  // namespace lamina
