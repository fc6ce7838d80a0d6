// SPDX-License-Identifier: Apache-2.0
#include "blobs/sim_image.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/executor.h"
#include "base/task.h"

namespace lamina {
namespace {

class SimImageDisk final : public ImageDisk {
 public:
  SimImageDisk(std::string path, std::shared_ptr<const SimImage> image)
      : path_(std::move(path)),
        image_(std::move(image)),
        size_(round_up(image_->bytes.size(), block_size)) {}

  uint64_t size() const override { return size_; }
  const DiskTraits& traits() const override { return traits_; }
  const std::string& name() const override { return path_; }
  void submit(DiskOperation& operation) override { spawn(answer(image_, operation)); }
  Result<ImageState> state() override {
    return ImageState{image_->bytes.size(), image_->mtime_ns, image_->ctime_ns, image_->inode,
                      image_->leased};
  }

 private:
  static Task<void> answer(std::shared_ptr<const SimImage> image, DiskOperation& operation) {
    co_await Yield{};
    if (operation.kind != DiskOperation::Kind::read) {
      operation.complete(EROFS);
      co_return;
    }
    const std::vector<std::byte>& bytes = image->bytes;
    const uint64_t begin = std::min<uint64_t>(operation.offset, bytes.size());
    const uint64_t there = std::min<uint64_t>(operation.length, bytes.size() - begin);
    if (there > 0) std::memcpy(operation.data, bytes.data() + begin, there);
    std::memset(operation.data + there, 0, operation.length - there);
    operation.complete(0);
  }

  const std::string path_;
  const std::shared_ptr<const SimImage> image_;
  const uint64_t size_;
  const DiskTraits traits_{};
};

}  // namespace

SimImage& SimImages::make(const std::string& path, std::vector<std::byte> bytes) {
  auto image = std::make_shared<SimImage>();
  image->bytes = std::move(bytes);
  image->inode = ++inodes_;
  images_[path] = image;
  return *image;
}

OpenImage SimImages::opener() {
  return [this](const std::string& path) -> Result<std::shared_ptr<ImageDisk>> {
    const auto found = images_.find(path);
    if (found == images_.end()) return fail(Code::not_found, path + ": there is no such file");
    return std::make_shared<SimImageDisk>(path, found->second);
  };
}

}  // namespace lamina
