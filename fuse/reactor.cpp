// SPDX-License-Identifier: Apache-2.0
#include "fuse/reactor.h"

#include <liburing.h>

#include <utility>

#include "base/check.h"

namespace lamina {
namespace {

static_assert(sizeof(fuse_in_header) + sizeof(fuse_read_in) == RequestSlots::head);
static_assert(sizeof(fuse_in_header) + sizeof(fuse_write_in) == RequestSlots::head);

// What is worth copying to a small slot: everything but payload and long attributes.
constexpr size_t small_request_bytes = 1024;

// How long the reply may get.
size_t reply_limit(const fuse_in_header& header, const std::byte* body, size_t body_bytes) {
  auto field = [&](size_t offset) -> size_t {
    uint32_t value = 0;
    if (body_bytes >= offset + sizeof value) std::memcpy(&value, body + offset, sizeof value);
    return value;
  };
  switch (header.opcode) {
    case FUSE_READ:
    case FUSE_READDIR:
    case FUSE_READDIRPLUS:
      return field(offsetof(fuse_read_in, size));
    case FUSE_GETXATTR:
    case FUSE_LISTXATTR:
      return field(offsetof(fuse_getxattr_in, size));
    default:
      return Request::min_room;
  }
}

}  // namespace

Result<std::unique_ptr<Reactor>> Reactor::create(UringLoop& loop, FileSystem& files, int fd,
                                                 size_t slot_bytes, bool multishot,
                                                 std::function<void()> ended) {
  Result<RequestSlots> slots = RequestSlots::create(slot_bytes);
  if (!slots) return forward_error(slots);
  std::unique_ptr<Reactor> reactor(
      new Reactor(loop, files, fd, std::move(*slots), std::move(ended)));
  if (multishot) {
    auto receiver = make_multishot_receiver(loop, reactor->slots_, fd, *reactor);
    if (!receiver) return forward_error(receiver);
    reactor->receiver_ = std::move(*receiver);
  } else {
    reactor->receiver_ = make_poll_receiver(loop, reactor->slots_, fd, *reactor);
  }
  return reactor;
}

Reactor::Reactor(UringLoop& loop, FileSystem& files, int fd, RequestSlots slots,
                 std::function<void()> ended)
    : loop_(loop), files_(files), fd_(fd), slots_(std::move(slots)), ended_(std::move(ended)) {}

void Reactor::accept(RequestSlots::Slot slot, size_t bytes) {
  fuse_in_header header;
  if (bytes < sizeof header) return drop(slot);
  std::memcpy(&header, RequestSlots::request_begin(slot), sizeof header);
  // The kernel never sends less or more than it says.
  if (header.len != bytes) return drop(slot);
  ++under_way_;
  spawn(serve(to_small(slot, bytes), bytes));
}

// Moves the request to a small slot, if it fits one and there is one.
RequestSlots::Slot Reactor::to_small(RequestSlots::Slot slot, size_t bytes) {
  const std::byte* begin = RequestSlots::request_begin(slot);
  fuse_in_header header;
  std::memcpy(&header, begin, sizeof header);
  if (bytes > small_request_bytes ||
      reply_limit(header, begin + sizeof header, bytes - sizeof header) >
          RequestSlots::small_room ||
      !slots_.has_small(submitted_position(loop_)))
    return slot;
  const RequestSlots::Slot small = slots_.take_small();
  std::memcpy(RequestSlots::request_begin(small), begin, bytes);
  drop(slot);
  return small;
}

Task<void> Reactor::serve(RequestSlots::Slot slot, size_t bytes) {
  const std::byte* begin = RequestSlots::request_begin(slot);
  Request request;
  std::memcpy(&request.header, begin, sizeof request.header);
  request.body = {begin + sizeof request.header, bytes - sizeof request.header};
  request.room = RequestSlots::room(slot);
  Task<void> operation = files_.dispatch(request);
  co_await operation;
  if (request.silent)
    drop(slot);
  else
    reply(slot, request);
  --under_way_;
  check_ended();
}

void Reactor::reply(RequestSlots::Slot slot, const Request& request) {
  fuse_out_header header{};
  header.len = static_cast<uint32_t>(sizeof header + request.reply_bytes);
  header.error = -request.error;
  header.unique = request.header.unique;
  std::byte* const begin = slot.room - sizeof header;
  std::memcpy(begin, &header, sizeof header);

  io_uring_sqe* sqe = loop_.quiet_sqe(replies_);
  io_uring_prep_write(sqe, fd_, begin, header.len, 0);
  io_uring_sqe_set_data(sqe, static_cast<RingHandler*>(&replies_));
  sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
  put_back(slot, queued_position(loop_));
}

void Reactor::put_back(RequestSlots::Slot slot, uint32_t position) {
  slots_.put_back(slot, position);
  if (!receiver_->waiting()) receiver_->resume();
}

void Reactor::drop(RequestSlots::Slot slot) {
  put_back(slot, submitted_position(loop_));
}

void Reactor::end() {
  if (std::exchange(ending_, true)) return;
  receiver_->cancel();
  check_ended();
}

void Reactor::connection_ended() {
  ending_ = true;
  check_ended();
}

void Reactor::check_ended() {
  if (!ending_ || under_way_ > 0 || !receiver_->idle() || !ended_) return;
  std::exchange(ended_, nullptr)();
}

}  // namespace lamina
