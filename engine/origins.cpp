// SPDX-License-Identifier: Apache-2.0
#include "engine/origins.h"

#include <algorithm>
#include <cstring>

#include "base/buffer.h"
#include "base/checksum.h"
#include "engine/mutation.h"

namespace lamina {
namespace {

constexpr uint64_t sampled_blocks = 64;

std::string bytes_text(uint64_t bytes) {
  return std::to_string(bytes) + " bytes";
}

ImageFacts facts_of(const ImageState& state) {
  return {state.size_bytes, state.mtime_ns, state.inode, 0};
}

// How an image is another one than was recorded; empty: it is not.
std::string compare(const ImageFacts& was, const ImageFacts& is, bool sampled) {
  if (is.size_bytes != was.size_bytes)
    return std::string("is ") + (is.size_bytes < was.size_bytes ? "shorter" : "longer") +
           " than it was: " + bytes_text(is.size_bytes) + " instead of " +
           bytes_text(was.size_bytes);
  if (is.inode != was.inode) return "is another file than it was";
  if (is.mtime_ns != was.mtime_ns) return "has been modified";
  if (sampled && is.sample != was.sample) return "holds something else than it did";
  return {};
}

// Of blocks spread evenly over it, the first and the last among them.
Task<Result<uint64_t>> sample(ImageDisk& disk, uint64_t bytes) {
  const uint64_t blocks = div_up(bytes, block_size);
  const uint64_t count = std::min(blocks, sampled_blocks);
  Buffer buffer(count * block_size);
  IoBatch batch;
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t block = count == 1 ? 0 : i * (blocks - 1) / (count - 1);
    batch.read(disk, block * block_size, buffer.blocks(i, 1));
  }
  co_await batch;
  LAMINA_CO_TRY(batch.result());
  co_return plain_checksum(buffer.span());
}

Task<Result<OpenedImage>> open_here(const OpenImage& open_image, std::string path) {
  if (!open_image) co_return fail(Code::unsupported, path + ": no images are read through here");
  auto disk = open_image(path);
  if (!disk) co_return forward_error(disk);
  const auto before = (*disk)->state();
  if (!before) co_return std::unexpected(before.error());
  auto sampled = co_await sample(**disk, before->size_bytes);
  if (!sampled) co_return forward_error(sampled);
  const auto after = (*disk)->state();
  if (!after) co_return std::unexpected(after.error());
  OpenedImage opened;
  opened.facts = facts_of(*after);
  if (facts_of(*before) != opened.facts)
    co_return fail(Code::busy, path + ": is being written to; wait until it is whole");
  opened.facts.sample = *sampled;
  opened.ctime_ns = after->ctime_ns;
  opened.disk = std::move(*disk);
  co_return opened;
}

}  // namespace

std::string OpenOrigin::difference(const ImageState& now) const {
  if (now.leased) return {};
  std::string found = compare(origin_.image, facts_of(now), false);
  if (found.empty() && now.ctime_ns != ctime_ns_) found = "has been touched";
  return found;
}

Result<> OpenOrigin::check() {
  Lock lock(mutex_);
  if (why_.empty()) {
    const auto now = disk_->state();
    why_ = now ? difference(*now) : now.error().message;
    // What has been done to it so far was no writing.
    if (now && now->leased) ctime_ns_ = now->ctime_ns;
    leased_ = now && now->leased;
    if (mutated(Mutation::trust_images)) why_.clear();
  }
  if (why_.empty()) return {};
  return fail(Code::io, "the external origin " + origin_.path + " " + why_ +
                            "; bring it back as it was and mount again, or accept it: `lamina "
                            "origin --accept`");
}

bool OpenOrigin::leased() const {
  Lock lock(mutex_);
  return leased_ && why_.empty();
}

Task<Result<>> OpenOrigin::read(uint32_t block, std::span<std::byte> into) {
  if (disk_) {
    const uint64_t offset = uint64_t{block} * block_size;
    IoBatch batch;
    batch.read(*disk_, offset, into);
    co_await batch;
    LAMINA_CO_TRY(check());
    LAMINA_CO_TRY(batch.result());
    // Where it has become longer, devices see no more of it than they did.
    if (offset + into.size() > origin_.size_bytes) {
      const uint64_t seen = origin_.size_bytes - std::min(offset, origin_.size_bytes);
      std::memset(into.data() + seen, 0, into.size() - seen);
    }
    co_return Result<>{};
  }
  co_return check();
}

Task<Result<OpenedImage>> Origins::open(std::string path) const {
  Executor& home = Executor::current();
  co_await SwitchTo{*settings_.background};
  auto opened = co_await open_here(settings_.open_image, std::move(path));
  co_await SwitchTo{home};
  co_return opened;
}

Task<void> Origins::reopen(Origin origin) {
  auto opened = co_await open_here(settings_.open_image, origin.path);
  std::string why;
  if (!opened)
    why = "cannot be read: " + opened.error().message;
  else
    why = compare(origin.image, opened->facts, true);
  if (why.empty()) {
    put(std::make_shared<OpenOrigin>(std::move(origin), std::move(*opened)));
    co_return;
  }
  const auto bad = std::make_shared<OpenOrigin>(std::move(origin), std::move(why));
  const Result<> said = bad->check();
  settings_.log(Settings::Severity::error, said.error().message);
  put(bad);
}

void Origins::put(OpenOriginPtr origin) {
  Lock lock(mutex_);
  all_[origin->origin().generation] = std::move(origin);
  count_ = all_.size();
}

OpenOriginPtr Origins::find(Generation generation) const {
  Lock lock(mutex_);
  const auto found = all_.find(generation);
  return found == all_.end() ? nullptr : found->second;
}

void Origins::keep(const std::set<Generation>& wanted) {
  Lock lock(mutex_);
  std::erase_if(all_, [&](const auto& one) { return !wanted.contains(one.first); });
  count_ = all_.size();
}

bool Origins::look() const {
  bool leased = false;
  for (const OpenOriginPtr& origin : all()) {
    const Result<> good = origin->check();
    leased = leased || (good && origin->leased());
  }
  return leased;
}

std::string Origins::refused() const {
  Lock lock(mutex_);
  return refused_;
}

void Origins::set_refused(const Result<>& result) {
  Lock lock(mutex_);
  refused_ = result ? "" : result.error().message;
}

std::vector<OpenOriginPtr> Origins::all() const {
  std::vector<OpenOriginPtr> all;
  Lock lock(mutex_);
  for (const auto& [generation, origin] : all_) all.push_back(origin);
  return all;
}

}  // namespace lamina
