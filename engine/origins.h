// SPDX-License-Identifier: Apache-2.0
// The external origins of a pool, as they are now: the images that addresses of origins are read
// from (blobs/origin.h). Which there are is in the device table (Devices::origins); what is here is
// of this life.
//
// An image belongs to somebody else. What it was is recorded, and every read asks afterwards
// whether it still is: an answer is given only if it was when the read had ended, or if nobody can
// have written to it meanwhile. Once it is not, everything that lies in it is EIO, until it is as
// it was when the pool is opened, or an admin accepts it as it is (C7).
// Thread-safety: all methods from any thread. No mutex is held over I/O, but an image's state,
//   which the kernel has at hand, is asked under its own.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/task.h"
#include "blobs/image_disk.h"
#include "blobs/origin.h"
#include "engine/settings.h"

namespace lamina {

// An image that was opened and sampled.
struct OpenedImage {
  std::shared_ptr<ImageDisk> disk;
  ImageFacts facts;
  uint64_t ctime_ns = 0;
};

// One origin. Owners: Origins, and reads under way.
class OpenOrigin {
 public:
  OpenOrigin(Origin origin, OpenedImage image)
      : origin_(std::move(origin)), disk_(std::move(image.disk)), ctime_ns_(image.ctime_ns) {}
  OpenOrigin(Origin origin, std::string why) : origin_(std::move(origin)), why_(std::move(why)) {}

  const Origin& origin() const { return origin_; }
  // Of `into`, whole blocks from `block` on. Errors: io; what check() says.
  Task<Result<>> read(uint32_t block, std::span<std::byte> into);
  // Whether it is as it was when it was opened. For good: one that has changed stays so.
  // Error io, with the path, what is the matter and what to do.
  Result<> check();
  // Whether the kernel makes whoever wants to write wait for check().
  bool leased() const;

 private:
  std::string difference(const ImageState& now) const REQUIRES(mutex_);

  const Origin origin_;
  const std::shared_ptr<ImageDisk> disk_;  // null: it could not be opened
  mutable Mutex mutex_;
  // Not recorded, since much that changes it changes no byte; but while nobody is kept from
  // writing, it is what tells of one who sets the mtime back.
  uint64_t ctime_ns_ GUARDED_BY(mutex_) = 0;
  bool leased_ GUARDED_BY(mutex_) = true;  // until it is asked
  std::string why_ GUARDED_BY(mutex_);     // what is the matter; empty: nothing
};
using OpenOriginPtr = std::shared_ptr<OpenOrigin>;

class Origins {
 public:
  explicit Origins(const Settings& settings) : settings_(settings) {}

  // What an image is now. Goes to the background for what may block. Errors: those of OpenImage;
  // unsupported, there is nothing to open images with; busy, it changes just now.
  Task<Result<OpenedImage>> open(std::string path) const;
  // Opens one that is recorded. Whatever it is, it is known from here on, and says what is wrong.
  Task<void> reopen(Origin origin);
  void put(OpenOriginPtr origin);
  OpenOriginPtr find(Generation generation) const;  // null: there is none of that name
  // Only those are wanted any more.
  void keep(const std::set<Generation>& wanted);
  std::vector<OpenOriginPtr> all() const;
  // check() of all; whether any is leased.
  bool look() const;
  // Why the newest change of origins was refused or failed; empty: it was not.
  std::string refused() const;
  void set_refused(const Result<>& result);
  bool any() const { return count_.load(std::memory_order_relaxed) > 0; }

 private:
  const Settings& settings_;
  mutable Mutex mutex_;
  std::map<Generation, OpenOriginPtr> all_ GUARDED_BY(mutex_);
  std::string refused_ GUARDED_BY(mutex_);
  std::atomic<size_t> count_{0};
};

}  // namespace lamina
