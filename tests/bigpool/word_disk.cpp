// SPDX-License-Identifier: Apache-2.0
#include "tests/bigpool/word_disk.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/executor.h"
#include "base/task.h"

namespace lamina {
namespace {

// The word that a block repeats; 0: none, or zeroes.
uint64_t word_of(std::span<const std::byte> block) {
  uint64_t word = 0;
  std::memcpy(&word, block.data(), sizeof word);
  const size_t rest = block.size() - sizeof word;
  return std::memcmp(block.data(), block.data() + sizeof word, rest) == 0 ? word : 0;
}

void repeat(uint64_t word, std::span<std::byte> block) {
  for (size_t at = 0; at < block.size(); at += sizeof word)
    std::memcpy(block.data() + at, &word, sizeof word);
}

}  // namespace

int WordDisk::load_words(uint64_t offset, std::span<uint64_t> words) const {
  const auto bytes = std::as_writable_bytes(words);
  const auto at = static_cast<off_t>((first_ + offset / block_size) * sizeof(uint64_t));
  const ssize_t got = pread(words_.get(), bytes.data(), bytes.size(), at);
  if (got < 0) return errno;
  std::ranges::fill(bytes.subspan(static_cast<size_t>(got)), std::byte{0});  // never written
  return 0;
}

int WordDisk::store_words(uint64_t offset, std::span<const uint64_t> words) const {
  const auto bytes = std::as_bytes(words);
  const auto at = static_cast<off_t>((first_ + offset / block_size) * sizeof(uint64_t));
  const ssize_t put = pwrite(words_.get(), bytes.data(), bytes.size(), at);
  if (put < 0) return errno;
  return static_cast<size_t>(put) == bytes.size() ? 0 : EIO;
}

// All of it is read below, holes included, so that a read costs a submission as on any disk.
Task<int> WordDisk::read(uint64_t offset, std::span<std::byte> into) {
  std::vector<uint64_t> words(into.size() / block_size);
  if (const int error = load_words(offset, words); error != 0) co_return error;
  IoBatch batch;
  batch.read(*below_, offset, into);
  co_await batch;
  for (size_t i = 0; i < words.size(); ++i)
    if (words[i] != 0) repeat(words[i], into.subspan(i * block_size, block_size));
  co_return batch.first_error();
}

// Words change when what lies below has been written, so that a crash in between drops the write.
Task<int> WordDisk::write(uint64_t offset, std::span<const std::byte> from, bool through) {
  std::vector<uint64_t> words(from.size() / block_size);
  for (size_t i = 0; i < words.size(); ++i)
    words[i] = word_of(from.subspan(i * block_size, block_size));
  IoBatch batch;
  for (size_t first = 0, end = 0; first < words.size(); first = end + 1) {
    for (end = first; end < words.size() && words[end] == 0;) ++end;
    if (end == first) continue;
    const auto run = from.subspan(first * block_size, (end - first) * block_size);
    if (through)
      batch.write_through(*below_, offset + first * block_size, run);
    else
      batch.write(*below_, offset + first * block_size, run);
  }
  co_await batch;
  if (!batch.ok()) co_return batch.first_error();
  co_return store_words(offset, words);
}

Task<int> WordDisk::discard(uint64_t offset, uint64_t length) {
  const auto at = static_cast<off_t>((first_ + offset / block_size) * sizeof(uint64_t));
  const auto bytes = static_cast<off_t>(length / block_size * sizeof(uint64_t));
  if (fallocate(words_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, bytes) != 0)
    co_return errno;
  IoBatch batch;
  batch.discard(*below_, offset, length);
  co_await batch;
  co_return batch.first_error();
}

Task<void> WordDisk::run(DiskOperation& operation) {
  co_await Yield{};  // where nothing lies below it would complete from inside submit()
  const uint64_t offset = operation.offset, length = operation.length;
  const std::span<std::byte> data(operation.data, operation.data == nullptr ? 0 : length);
  int error = 0;
  switch (operation.kind) {
    case DiskOperation::Kind::read: {
      Task<int> task = read(offset, data);
      error = co_await task;
      break;
    }
    case DiskOperation::Kind::write:
    case DiskOperation::Kind::write_through: {
      const bool through = operation.kind == DiskOperation::Kind::write_through;
      Task<int> task = write(offset, data, through);
      error = co_await task;
      break;
    }
    case DiskOperation::Kind::flush: {
      IoBatch batch;
      batch.flush(*below_);
      co_await batch;
      error = batch.first_error();
      break;
    }
    case DiskOperation::Kind::discard:
    case DiskOperation::Kind::prepare: {  // to write payload's place is what this disk is not for
      Task<int> task = discard(offset, length);
      error = co_await task;
      break;
    }
  }
  operation.complete(error);
}

void WordDisk::submit(DiskOperation& operation) {
  spawn(run(operation));
}

Result<std::unique_ptr<Disk>> open_word_disk(const std::string& path,
                                             const FileDiskOptions& options) {
  auto below = open_file_disk(path, options);
  if (!below) return forward_error(below);
  const std::string name = path + ".words";
  FileHandle words(open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!words) return fail(Code::io, name + ": cannot be opened: " + std::strerror(errno));
  return std::make_unique<WordDisk>(std::move(*below), std::move(words),
                                    options.offset / block_size);
}

}  // namespace lamina
