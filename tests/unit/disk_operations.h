// SPDX-License-Identifier: Apache-2.0
// One operation of a disk each, awaited: what the tests of every kind of disk do.
#pragma once

#include <cstring>

#include "base/buffer.h"
#include "base/task.h"
#include "blobs/disk.h"

namespace lamina {

inline Buffer filled(size_t bytes, int value) {
  Buffer buffer(bytes);
  std::memset(buffer.data(), value, bytes);
  return buffer;
}

inline Task<Result<>> flush(Disk& disk) {
  IoBatch batch;
  batch.flush(disk);
  co_await batch;
  co_return batch.result();
}

inline Task<Result<>> discard(Disk& disk, uint64_t offset, uint64_t length) {
  IoBatch batch;
  batch.discard(disk, offset, length);
  co_await batch;
  co_return batch.result();
}

inline Task<Result<>> write(Disk& disk, uint64_t offset, const Buffer& from) {
  IoBatch batch;
  batch.write(disk, offset, from.span());
  co_await batch;
  co_return batch.result();
}

inline Task<Result<>> write_through(Disk& disk, uint64_t offset, const Buffer& from) {
  IoBatch batch;
  batch.write_through(disk, offset, from.span());
  co_await batch;
  co_return batch.result();
}

inline Task<Result<>> read(Disk& disk, uint64_t offset, Buffer& into) {
  IoBatch batch;
  batch.read(disk, offset, into.span());
  co_await batch;
  co_return batch.result();
}

}  // namespace lamina
