// SPDX-License-Identifier: Apache-2.0
#include "content.h"

#include <algorithm>
#include <cstring>

#include "base/buffer.h"
#include "base/check.h"
#include "text.h"

namespace lamina::sim {
namespace {

constexpr uint64_t magic = 0x6d69732e616e696d;
constexpr size_t words_per_sector = 512 / sizeof(uint64_t);
constexpr size_t words_per_block = block_size / sizeof(uint64_t);

using Words = std::array<uint64_t, words_per_block>;

// Word 0..3 of every sector say who it is; the rest depends on all of that and on the place. Runs
// make many such blocks: two loops without a choice in them are fast.
Words pattern(uint64_t device, uint64_t block, uint64_t version) {
  Words words;
  const uint64_t who = (version * 0x9e3779b97f4a7c15) ^ (block << 20) ^ (device << 48);
  for (size_t i = 0; i < words.size(); ++i) words[i] = who ^ (uint64_t{i} * 0xd6e8feb86659fd93);
  for (size_t at = 0; at < words.size(); at += words_per_sector) {
    words[at] = magic;
    words[at + 1] = device;
    words[at + 2] = block;
    words[at + 3] = version;
  }
  return words;
}

}  // namespace

Content Content::tagged(uint64_t device, uint64_t block, uint64_t version) {
  Content content;
  content.kind_ = Kind::tagged;
  content.device_ = device;
  content.block_ = block;
  content.version_ = version;
  return content;
}

Content Content::with(size_t from, std::span<const std::byte> patch) const {
  LAMINA_CHECK(from + patch.size() <= block_size);
  auto bytes = std::make_shared<Bytes>();
  fill(*bytes);
  std::copy(patch.begin(), patch.end(), bytes->begin() + static_cast<ptrdiff_t>(from));
  Content content;
  if (all_zero(*bytes)) return content;
  content.kind_ = Kind::bytes;
  content.bytes_ = std::move(bytes);
  return content;
}

Content Content::zeroed(size_t from, size_t to) const {
  if (zero() || from >= to) return *this;
  static constexpr Bytes zeroes{};
  return with(from, std::span(zeroes).first(to - from));
}

void Content::fill(std::span<std::byte> block) const {
  LAMINA_CHECK(block.size() <= block_size);
  switch (kind_) {
    case Kind::zero:
      std::memset(block.data(), 0, block.size());
      return;
    case Kind::bytes:
      std::memcpy(block.data(), bytes_->data(), block.size());
      return;
    case Kind::tagged: {
      const Words words = pattern(device_, block_, version_);
      std::memcpy(block.data(), words.data(), block.size());
      return;
    }
  }
}

bool Content::matches(std::span<const std::byte> block) const {
  if (block.empty() || kind_ == Kind::zero) return all_zero(block);
  if (kind_ == Kind::bytes) return std::memcmp(block.data(), bytes_->data(), block.size()) == 0;
  Bytes expected;
  fill(std::span(expected).first(block.size()));
  return std::memcmp(block.data(), expected.data(), block.size()) == 0;
}

std::string Content::describe() const {
  switch (kind_) {
    case Kind::zero:
      return "zeroes";
    case Kind::bytes:
      return "a mixed block";
    case Kind::tagged:
      return text("version ", version_, " of block ", block_, " of device ", device_);
  }
  return {};
}

bool begins_with(std::span<const std::byte> bytes, std::span<const std::byte> with) {
  return with.empty() ||
         (bytes.size() >= with.size() && std::memcmp(bytes.data(), with.data(), with.size()) == 0);
}

std::string describe_block(std::span<const std::byte> block) {
  if (all_zero(block)) return "zeroes";
  std::string out;
  for (size_t at = 0; at + 512 <= block.size(); at += 512) {
    std::array<uint64_t, 4> head;
    std::memcpy(head.data(), block.data() + at, sizeof head);
    std::string sector;
    if (all_zero(block.subspan(at, 512)))
      sector = "zeroes";
    else if (head[0] != magic)
      sector = "unknown bytes";
    else
      sector = text("version ", head[3], " of block ", head[2], " of device ", head[1]);
    if (at == 0)
      out = sector;
    else if (out.find(sector) == std::string::npos)
      out += text(", from byte ", at, " ", sector);
  }
  return out;
}

}  // namespace lamina::sim
