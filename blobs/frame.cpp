// SPDX-License-Identifier: Apache-2.0
#include "blobs/frame.h"

#include <zstd.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "blobs/frame_format.h"

namespace lamina {
namespace {

// Less than this is not worth the work of decompressing it: a kilobyte of a whole frame.
constexpr size_t least_gain_part = 64;
// The level that zstd has by default looks for matches of five bytes, which suits what is larger
// than a frame: with four, programs and libraries take 0.8 % less, and as long.
constexpr int usual_level = 3, shortest_match = 4;

size_t head_bytes(uint32_t blocks) {
  return sizeof(FrameFormat) + size_t{blocks} * sizeof(le32);
}

// Of the header up to its checksum, and of the checksums behind it.
uint64_t checksum_of(std::span<const std::byte> frame, uint32_t blocks, const Secret& secret,
                     const MetadataPlace& place) {
  std::array<std::byte, offsetof(FrameFormat, checksum) + frame_blocks * sizeof(le32)> covered;
  std::memcpy(covered.data(), frame.data(), offsetof(FrameFormat, checksum));
  std::memcpy(covered.data() + offsetof(FrameFormat, checksum), frame.data() + sizeof(FrameFormat),
              size_t{blocks} * sizeof(le32));
  const size_t bytes = offsetof(FrameFormat, checksum) + size_t{blocks} * sizeof(le32);
  return keyed_checksum(std::span(covered).first(bytes), secret, place);
}

FrameFormat load(std::span<const std::byte> bytes) {
  FrameFormat format;
  std::memcpy(&format, bytes.data(), sizeof format);
  return format;
}

void store(const FrameFormat& format, std::span<std::byte> bytes) {
  std::memcpy(bytes.data(), &format, sizeof format);
}

// Of what zstd compresses with codes of their own: neighbours differ, and half a percent is gained.
constexpr size_t part_bytes = 8 * block_size;

// What it takes; 0: more than there is room for.
size_t compress(ZSTD_CCtx* context, int level, std::span<const std::byte> data,
                std::span<std::byte> into) {
  ZSTD_CCtx_reset(context, ZSTD_reset_session_and_parameters);
  ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level);
  if (level == usual_level) ZSTD_CCtx_setParameter(context, ZSTD_c_minMatch, shortest_match);
  ZSTD_CCtx_setPledgedSrcSize(context, data.size());
  ZSTD_outBuffer out{into.data(), into.size(), 0};
  for (size_t at = 0; at < data.size(); at += part_bytes) {
    ZSTD_inBuffer in{data.data() + at, std::min(part_bytes, data.size() - at), 0};
    const bool last = at + part_bytes >= data.size();
    const size_t left = ZSTD_compressStream2(context, &out, &in, last ? ZSTD_e_end : ZSTD_e_flush);
    if (left != 0) return 0;  // or an error
  }
  return out.pos;
}

// The header, if it is whole and of that place.
Result<FrameFormat> checked(std::span<const std::byte> bytes, const Secret& secret,
                            const MetadataPlace& place) {
  if (bytes.size() < sizeof(FrameFormat)) return fail(Code::corrupt, "a frame is cut short");
  const FrameFormat format = load(bytes);
  if (format.magic != frame_magic || format.blocks == 0 || format.blocks > frame_blocks ||
      format.frame.load() != place.block || bytes.size() < head_bytes(format.blocks))
    return fail(Code::corrupt, "no frame of that place is here");
  if (format.checksum.load() != checksum_of(bytes, format.blocks, secret, place))
    return fail(Code::corrupt, "a frame's header fails its checksum");
  return format;
}

}  // namespace

size_t largest_frame(uint32_t blocks) {
  return round_up(head_bytes(blocks) + size_t{blocks} * block_size, frame_grain);
}

uint32_t frame_index_blocks(uint32_t segment_blocks) {
  const uint64_t words = div_up(uint64_t{segment_blocks} * virtual_ratio, frame_blocks);
  return static_cast<uint32_t>(div_up(words * sizeof(le32), block_size));
}

struct FrameCodec::Contexts {
  ZSTD_CCtx* compress = nullptr;
  ZSTD_DCtx* decompress = nullptr;
  ~Contexts() {
    ZSTD_freeCCtx(compress);
    ZSTD_freeDCtx(decompress);
  }
};

FrameCodec::FrameCodec(int level) : contexts_(std::make_unique<Contexts>()), level_(level) {}
FrameCodec::FrameCodec(FrameCodec&&) noexcept = default;
FrameCodec::~FrameCodec() = default;

std::vector<std::byte> FrameCodec::encode(std::span<const std::byte> data,
                                          std::span<const uint32_t> checksums) {
  const auto blocks = static_cast<uint32_t>(checksums.size());
  LAMINA_CHECK(blocks >= 1 && blocks <= frame_blocks && data.size() == blocks * block_size);
  if (!contexts_->compress) contexts_->compress = ZSTD_createCCtx();
  const size_t head = head_bytes(blocks);
  std::vector<std::byte> frame(head + ZSTD_compressBound(data.size()));
  size_t bytes = compress(contexts_->compress, level_, data, std::span(frame).subspan(head));
  const bool gains = bytes > 0 && bytes <= data.size() - data.size() / least_gain_part;
  if (!gains) {
    bytes = data.size();
    std::memcpy(frame.data() + head, data.data(), bytes);
  }
  FrameFormat format{};
  format.magic = frame_magic;
  format.bytes.store(static_cast<uint32_t>(bytes));
  format.blocks = static_cast<unsigned char>(blocks);
  format.method = static_cast<unsigned char>(gains ? FrameMethod::zstd : FrameMethod::stored);
  format.stored_checksum.store(plain_checksum(std::span(frame).subspan(head, bytes)));
  store(format, frame);
  for (uint32_t i = 0; i < blocks; ++i) {
    le32 sum;
    sum.store(checksums[i]);
    std::memcpy(frame.data() + sizeof(FrameFormat) + i * sizeof sum, &sum, sizeof sum);
  }
  const size_t end = round_up(head + bytes, frame_grain);
  frame.resize(end);
  std::memset(frame.data() + head + bytes, 0, end - head - bytes);
  return frame;
}

void stamp_frame(std::span<std::byte> frame, const Secret& secret, const MetadataPlace& place) {
  FrameFormat format = load(frame);
  format.frame.store(place.block);
  store(format, frame);
  format.checksum.store(checksum_of(frame, format.blocks, secret, place));
  store(format, frame);
}

Result<size_t> frame_length(std::span<const std::byte> bytes, const Secret& secret,
                            const MetadataPlace& place) {
  auto format = checked(bytes, secret, place);
  if (!format) return forward_error(format);
  return round_up(head_bytes(format->blocks) + format->bytes.load(), frame_grain);
}

Result<PackedFrame> open_frame(std::span<const std::byte> bytes, const Secret& secret,
                               const MetadataPlace& place) {
  auto format = checked(bytes, secret, place);
  if (!format) return forward_error(format);
  const size_t head = head_bytes(format->blocks), stored = format->bytes.load();
  if (bytes.size() < head + stored) return fail(Code::corrupt, "a frame is cut short");
  const auto method = static_cast<FrameMethod>(format->method);
  if (method != FrameMethod::zstd &&
      (method != FrameMethod::stored || stored != format->blocks * block_size))
    return fail(Code::corrupt, "a frame is stored in an unknown way");
  PackedFrame frame;
  frame.blocks_ = format->blocks;
  frame.compressed_ = method == FrameMethod::zstd;
  frame.stored_ = bytes.subspan(head, stored);
  for (uint32_t i = 0; i < format->blocks; ++i) {
    le32 sum;
    std::memcpy(&sum, bytes.data() + sizeof(FrameFormat) + i * sizeof sum, sizeof sum);
    frame.checksums_[i] = sum.load();
  }
  return frame;
}

Result<PackedFrame> whole_frame(std::span<const std::byte> bytes, const Secret& secret,
                                const MetadataPlace& place) {
  auto frame = open_frame(bytes, secret, place);
  if (!frame) return frame;
  if (load(bytes).stored_checksum.load() != plain_checksum(frame->stored()))
    return fail(Code::corrupt, "a frame fails its checksum");
  return frame;
}

bool Frame::good(uint32_t block) const {
  return payload_checksum(data.blocks(block, 1)) == checksums[block];
}

Result<> FrameCodec::unpack(const PackedFrame& frame, std::span<std::byte> into) {
  LAMINA_CHECK(into.size() == frame.blocks() * block_size);
  const auto stored = frame.stored();
  if (!frame.is_compressed()) {
    std::memcpy(into.data(), stored.data(), stored.size());
    return {};
  }
  if (!contexts_->decompress) contexts_->decompress = ZSTD_createDCtx();
  const size_t got = ZSTD_decompressDCtx(contexts_->decompress, into.data(), into.size(),
                                         stored.data(), stored.size());
  if (ZSTD_isError(got) || got != into.size())
    return fail(Code::corrupt, "a frame does not decompress");
  return {};
}

Result<Frame> FrameCodec::decode(const PackedFrame& packed) {
  Frame frame;
  frame.data = Buffer(size_t{packed.blocks()} * block_size);
  LAMINA_TRY(unpack(packed, frame.data.span()));
  frame.checksums.assign(packed.checksums().begin(), packed.checksums().end());
  return frame;
}

Result<Frame> FrameCodec::decode(std::span<const std::byte> bytes, const Secret& secret,
                                 const MetadataPlace& place) {
  auto packed = open_frame(bytes, secret, place);
  if (!packed) return forward_error(packed);
  return decode(*packed);
}

}  // namespace lamina
