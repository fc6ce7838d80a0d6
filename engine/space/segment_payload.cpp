// SPDX-License-Identifier: Apache-2.0
#include "engine/space/segment_payload.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/endian.h"
#include "blobs/frame.h"

namespace lamina {
namespace {

// Frames that are gathered before they are compressed together, and how many such batches there are
// at a time: while one is put in its place and the next is gathered, who compresses has one more.
constexpr size_t frames_at_once = 16;
constexpr size_t batches_at_once = 3;

void store_words(std::span<const uint32_t> words, std::span<std::byte> into) {
  for (size_t i = 0; i < words.size(); ++i) {
    le32 value;
    value.store(words[i]);
    std::memcpy(into.data() + i * sizeof value, &value, sizeof value);
  }
}

// Block by block: an address is a block of the segment.
class PlainPayload final : public SegmentPayload {
 public:
  void open(const MetadataPlace&, Buffer& memory, uint32_t begin) override {
    memory_ = &memory;
    next_ = begin;
    sums_.assign(memory.size() / block_size, 0);
  }
  bool fits(uint32_t end) const override { return next_ <= end; }
  uint32_t room(uint32_t end) const override { return end > next_ ? end - next_ : 0; }
  bool under_way() const override { return false; }
  Task<void> go_on() override { co_return; }
  Task<void> settle() override { co_return; }
  uint32_t next_address() const override { return next_; }
  void put(std::span<const std::byte> data, std::span<const uint32_t> checksums) override {
    std::memcpy(memory_->data() + size_t{next_} * block_size, data.data(), data.size());
    std::copy(checksums.begin(), checksums.end(), sums_.begin() + next_);
    next_ += static_cast<uint32_t>(checksums.size());
  }
  bool put_frame(std::span<const std::byte>, uint32_t, uint32_t) override { return false; }
  uint32_t last_frame() const override { return 0; }
  bool movable() const override { return false; }
  void move_up(uint32_t) override { LAMINA_CHECK(false); }
  void close() override { store_words(sums_, memory_->span().subspan(block_size)); }
  uint32_t used_end() const override { return next_; }
  uint32_t addressed() const override { return 0; }

 private:
  Buffer* memory_ = nullptr;
  uint32_t next_ = 0;
  std::vector<uint32_t> sums_;
};

// Compressed: an address is a block of a frame.
class FramePayload final : public SegmentPayload {
 public:
  explicit FramePayload(const Options& options) : options_(options) {
    for (size_t i = 0; i < batches_at_once * Pieces::jobs(options.workers); ++i)
      codecs_.emplace_back(options.level);
  }

  void open(const MetadataPlace& place, Buffer& memory, uint32_t begin) override {
    place_ = place;
    memory_ = &memory;
    end_ = size_t{begin} * block_size;
    limit_ = addresses_end(static_cast<uint32_t>(memory.size() / block_size));
    index_ = {0, static_cast<uint32_t>(end_ / frame_grain)};
    next_ = frame_blocks;
    held_ = 0;
  }

  bool fits(uint32_t end) const override { return taken() <= size_t{end} * block_size; }

  uint32_t room(uint32_t end) const override {
    const size_t bytes = size_t{end} * block_size;
    size_t from = taken(), frames = waiting_.size();
    uint32_t blocks = 0;
    if (frames > 0 && waiting_.back().takes_more()) {
      const uint32_t begun = waiting_.back().blocks();
      from -= largest_frame(begun);
      blocks = most_blocks(bytes, from);
      if (blocks < frame_blocks) return std::min(blocks > begun ? blocks - begun : 0, left());
      blocks -= begun;
      from += largest_frame(frame_blocks);
    }
    for (; frames < frames_at_once; ++frames) {
      const uint32_t more = most_blocks(bytes, from);
      blocks += more;
      if (more < frame_blocks) break;
      from += largest_frame(frame_blocks);
    }
    return std::min(blocks, left());
  }

  bool under_way() const override { return !waiting_.empty() || !batches_.empty(); }

  Task<void> go_on() override {
    const bool starts = !waiting_.empty();
    if (!batches_.empty() && (!starts || batches_.size() == batches_at_once))
      co_await place_first();
    start_compressing();
    while (!batches_.empty() && batches_.front()->pieces.done().signalled()) co_await place_first();
  }

  Task<void> settle() override {
    if (batches_.size() == batches_at_once) co_await place_first();
    start_compressing();
    while (!batches_.empty()) co_await place_first();
  }

  uint32_t next_address() const override { return next_; }

  void put(std::span<const std::byte> data, std::span<const uint32_t> checksums) override {
    for (size_t done = 0; done < checksums.size();) {
      if (waiting_.empty() || !waiting_.back().takes_more()) waiting_.emplace_back();
      Waiting& frame = waiting_.back();
      const size_t now = std::min<size_t>(checksums.size() - done, frame_blocks - frame.blocks());
      std::memcpy(frame.data.data() + size_t{frame.blocks()} * block_size,
                  data.data() + done * block_size, now * block_size);
      frame.checksums.insert(frame.checksums.end(), checksums.begin() + static_cast<long>(done),
                             checksums.begin() + static_cast<long>(done + now));
      done += now;
      next_ += static_cast<uint32_t>(now);
      held_ += static_cast<uint32_t>(now);
    }
  }

  bool put_frame(std::span<const std::byte> frame, uint32_t blocks, uint32_t end) override {
    const auto begin = static_cast<uint32_t>(round_up(next_, frame_blocks));
    if (waiting_.size() >= frames_at_once || begin + frame_blocks > limit_ ||
        taken() + frame.size() > size_t{end} * block_size)
      return false;
    Waiting& carried = waiting_.emplace_back();
    carried.data = {};
    carried.made.assign(frame.begin(), frame.end());
    next_ = begin + frame_blocks;
    held_ += blocks;
    return true;
  }
  uint32_t last_frame() const override { return next_ - frame_blocks; }

  bool movable() const override { return true; }
  void move_up(uint32_t blocks) override {
    const size_t by = size_t{blocks} * block_size, begin = size_t{index_[1]} * frame_grain;
    LAMINA_CHECK(!under_way() && end_ + by <= memory_->size());
    if (by == 0) return;
    std::memmove(memory_->data() + begin + by, memory_->data() + begin, end_ - begin);
    end_ += by;
    for (size_t at = 1; at < index_.size(); ++at)
      index_[at] += static_cast<uint32_t>(by / frame_grain);
  }
  void close() override {
    store_words(index_, memory_->span().subspan(block_size));
    const size_t end = size_t{used_end()} * block_size;
    std::memset(memory_->data() + end_, 0, end - end_);
  }
  uint32_t used_end() const override { return static_cast<uint32_t>(div_up(end_, block_size)); }
  uint32_t addressed() const override { return held_; }

 private:
  struct Waiting {
    Buffer data{size_t{frame_blocks} * block_size};
    std::vector<uint32_t> checksums;
    std::vector<std::byte> made;  // carried as it is
    uint32_t blocks() const { return static_cast<uint32_t>(checksums.size()); }
    bool takes_more() const { return made.empty() && blocks() < frame_blocks; }
    size_t most() const { return made.empty() ? largest_frame(blocks()) : made.size(); }
  };
  struct Batch {
    std::vector<Waiting> frames;
    std::vector<std::vector<std::byte>> made;
    Pieces pieces;
  };

  void start_compressing() {
    if (waiting_.empty()) return;
    const size_t jobs = Pieces::jobs(options_.workers);
    const size_t first_codec = begun_++ % batches_at_once * jobs;
    Batch& batch = *batches_.emplace_back(std::make_unique<Batch>());
    batch.frames = std::exchange(waiting_, {});
    batch.made.resize(batch.frames.size());
    // The next frame begins at a whole one.
    next_ = static_cast<uint32_t>(round_up(next_, frame_blocks));
    batch.pieces.start(options_.workers, batch.frames.size(),
                       [this, &batch, first_codec](size_t at, size_t worker) {
                         const Waiting& frame = batch.frames[at];
                         batch.made[at] = frame.made;
                         if (!frame.made.empty()) return;
                         batch.made[at] = codecs_[first_codec + worker].encode(
                             frame.data.span().first(frame.blocks() * block_size), frame.checksums);
                       });
  }

  // Waits for the batch that was begun first, and puts it in its place.
  Task<void> place_first() {
    Completion& done = batches_.front()->pieces.done();
    co_await done;
    const std::unique_ptr<Batch> batch = std::move(batches_.front());
    batches_.pop_front();
    for (std::vector<std::byte>& frame : batch->made) {
      MetadataPlace place = place_;
      place.block = static_cast<uint32_t>(index_.size() - 1);
      stamp_frame(frame, options_.secret, place);
      LAMINA_CHECK(end_ + frame.size() <= memory_->size());
      std::memcpy(memory_->data() + end_, frame.data(), frame.size());
      end_ += frame.size();
      index_.push_back(static_cast<uint32_t>(end_ / frame_grain));
    }
  }

  // Where everything ends if nothing that is not compressed yet gets smaller, bytes.
  size_t taken() const {
    size_t taken = end_;
    for (const Waiting& frame : waiting_) taken += frame.most();
    for (const auto& batch : batches_)
      for (const Waiting& frame : batch->frames) taken += frame.most();
    return taken;
  }
  uint32_t left() const { return limit_ - next_; }  // addresses
  // How many blocks a frame may have that begins there and ends before `end`, bytes.
  static uint32_t most_blocks(size_t end, size_t from) {
    const size_t left = end > from ? end - from : 0;
    uint32_t blocks = frame_blocks;
    while (blocks > 0 && largest_frame(blocks) > left) --blocks;
    return blocks;
  }

  const Options options_;
  std::vector<FrameCodec> codecs_;  // one a worker, of each batch
  size_t begun_ = 0;                // batches
  MetadataPlace place_;
  Buffer* memory_ = nullptr;
  size_t end_ = 0;                 // bytes: where the next frame will lie
  uint32_t limit_ = 0, next_ = 0;  // addresses
  uint32_t held_ = 0;              // blocks
  std::vector<uint32_t> index_;    // where frames begin, and the last one ends, in grains
  std::vector<Waiting> waiting_;   // gathered
  std::deque<std::unique_ptr<Batch>> batches_;  // being compressed, in order
};

}  // namespace

std::unique_ptr<SegmentPayload> SegmentPayload::make(const Blob& blob, const Options& options) {
  if (blob.kind() == BlobKind::compression) return std::make_unique<FramePayload>(options);
  return std::make_unique<PlainPayload>();
}

}  // namespace lamina
