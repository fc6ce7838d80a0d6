// SPDX-License-Identifier: Apache-2.0
// A disk for pools that are large and whose payload says nothing. Of a block that is one 8-byte
// word over and over it keeps the word; every other block, which is to say all metadata, lies on a
// disk below, in its place. Both are read back as they were written, so checksums verify, and 10
// million blocks of such payload take 80 MB. fio writes and verifies such blocks, each one another:
// --verify=pattern --verify_pattern=%o, which is the block's offset in the file.
// Thread-safety: as Disk says.
// Durability: what lies below is as durable as there. Words outlive the process, not its host.
// Ownership: of the disk below and of the words' file.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "base/result.h"
#include "base/task.h"
#include "blobs/file_disk.h"
#include "file_handle.h"

namespace lamina {

class WordDisk final : public Disk {
 public:
  // `words`: a file of one word for each block, zero for those that lie below (a block of zeroes
  // does). `first`: which of its words is that of the disk's first block.
  WordDisk(std::unique_ptr<Disk> below, FileHandle words, uint64_t first)
      : below_(std::move(below)), words_(std::move(words)), first_(first) {}

  uint64_t size() const override { return below_->size(); }
  const DiskTraits& traits() const override { return below_->traits(); }
  const std::string& name() const override { return below_->name(); }
  void submit(DiskOperation& operation) override;
  Result<uint64_t> refresh_size() override { return below_->refresh_size(); }

 private:
  Task<void> run(DiskOperation& operation);
  Task<int> read(uint64_t offset, std::span<std::byte> into);
  Task<int> write(uint64_t offset, std::span<const std::byte> from, bool through);
  Task<int> discard(uint64_t offset, uint64_t length);
  // Errors are a positive errno, 0 is none.
  int load_words(uint64_t offset, std::span<uint64_t> words) const;
  int store_words(uint64_t offset, std::span<const uint64_t> words) const;

  const std::unique_ptr<Disk> below_;
  const FileHandle words_;
  const uint64_t first_;
};

// As open_file_disk, with the words in `path`.words, which is made where there is none.
Result<std::unique_ptr<Disk>> open_word_disk(const std::string& path,
                                             const FileDiskOptions& options);

}  // namespace lamina
