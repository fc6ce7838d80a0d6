// SPDX-License-Identifier: Apache-2.0
#include "blobs/disk.h"

#include <cerrno>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>

#include "base/check.h"
#include "base/executor.h"

namespace lamina {
namespace {

static_assert(std::is_trivially_destructible_v<DiskOperation>, "a batch only forgets them");

const char* verb(DiskOperation::Kind kind) {
  switch (kind) {
    case DiskOperation::Kind::read:
      return "reading";
    case DiskOperation::Kind::write:
    case DiskOperation::Kind::write_through:
      return "writing";
    case DiskOperation::Kind::flush:
      return "flushing";
    case DiskOperation::Kind::discard:
      return "discarding";
    case DiskOperation::Kind::prepare:
      return "preparing";
  }
  return "using";
}

bool block_multiple(uint64_t value) {
  return value % block_size == 0;
}

}  // namespace

void DiskOperation::complete(int error_number) {
  error = error_number;
  IoBatch* const owner = batch;
  if (owner == nullptr) return;
  owner->zeroed_ += zeroed;
  const bool wrote = kind == Kind::write || kind == Kind::write_through || kind == Kind::flush;
  if (error_number != 0 && wrote) disk->note_failure();
  if (error_number != 0 && kind == Kind::read) disk->note_failed_read();
  if (error_number != 0 && owner->first_error_ == 0) {
    owner->first_error_ = error_number;
    owner->failed_kind_ = kind;
    owner->failed_offset_ = offset;
    owner->failed_disk_ = disk;
  }
  LAMINA_CHECK(owner->pending_ > 0);
  if (--owner->pending_ == 0 && owner->waiter_)
    std::exchange(owner->waiter_, std::coroutine_handle<>{}).resume();
}

IoBatch::~IoBatch() {
  LAMINA_CHECK(pending_ == 0);
}

DiskOperation& IoBatch::start(Disk& disk, DiskOperation::Kind kind, uint64_t offset,
                              uint64_t length, std::byte* data) {
  LAMINA_CHECK(block_multiple(offset) && block_multiple(length));
  LAMINA_CHECK(block_multiple(reinterpret_cast<uintptr_t>(data)));
  DiskOperation* operation;
  if (pending_ == 0 && used_ == 0) more_.clear();
  if (used_ < inline_operations) {
    operation = new (inline_ + used_ * sizeof(DiskOperation)) DiskOperation;
  } else {
    operation = &more_.emplace_back();
  }
  ++used_;
  operation->error = 0;
  operation->kind = kind;
  operation->offset = offset;
  operation->length = length;
  operation->data = data;
  operation->batch = this;
  operation->disk = &disk;
  if (kind != DiskOperation::Kind::read && disk.given_up()) {
    dropped_ = true;
    return *operation;
  }
  ++pending_;
  disk.submit(*operation);
  return *operation;
}

// Never at once: who starts something counts on it not to have ended yet.
void IoBatch::await_suspend(std::coroutine_handle<> handle) {
  if (pending_ > 0)
    waiter_ = handle;
  else
    Executor::current().post(handle);
}

void IoBatch::await_resume() {
  waiter_ = nullptr;
  dropped_ = false;
  // The results stay readable; the places are taken again by the next operations.
  used_ = 0;
}

DiskOperation& IoBatch::read(Disk& disk, uint64_t offset, std::span<std::byte> into) {
  return start(disk, DiskOperation::Kind::read, offset, into.size(), into.data());
}

DiskOperation& IoBatch::write(Disk& disk, uint64_t offset, std::span<const std::byte> from) {
  // Only read through this pointer: the kind says so.
  return start(disk, DiskOperation::Kind::write, offset, from.size(),
               const_cast<std::byte*>(from.data()));
}

DiskOperation& IoBatch::write_through(Disk& disk, uint64_t offset,
                                      std::span<const std::byte> from) {
  return start(disk, DiskOperation::Kind::write_through, offset, from.size(),
               const_cast<std::byte*>(from.data()));
}

DiskOperation& IoBatch::flush(Disk& disk) {
  return start(disk, DiskOperation::Kind::flush, 0, 0, nullptr);
}

DiskOperation& IoBatch::discard(Disk& disk, uint64_t offset, uint64_t length) {
  return start(disk, DiskOperation::Kind::discard, offset, length, nullptr);
}

DiskOperation& IoBatch::prepare(Disk& disk, uint64_t offset, uint64_t length) {
  return start(disk, DiskOperation::Kind::prepare, offset, length, nullptr);
}

Result<> IoBatch::result() const {
  if (ok()) return {};
  const Code code = first_error_ == ENOSPC ? Code::no_space : Code::io;
  std::string message = failed_disk_->name() + ": " + verb(failed_kind_);
  if (failed_kind_ != DiskOperation::Kind::flush)
    message += " at byte " + std::to_string(failed_offset_);
  return fail(code, message + ": " + std::strerror(first_error_));
}

}  // namespace lamina
