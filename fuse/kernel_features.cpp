// SPDX-License-Identifier: Apache-2.0
#include "fuse/kernel_features.h"

#include <algorithm>

namespace lamina {
namespace {

// Newer than the <linux/fuse.h> of Debian 12.
constexpr uint64_t flag_direct_io_allow_mmap = uint64_t{1} << 36;

struct Row {
  Feature feature;
  std::string_view name;
  uint64_t init_flags;  // asked for in INIT; 0: not by INIT
  uint32_t minor;       // what has no flag is there from this minor version on
};

constexpr uint64_t flag(uint32_t bits) {
  return bits;
}

constexpr std::array<Row, feature_count> rows{{
    {Feature::multishot, "multishot", 0, 0},
    {Feature::parallel_direct_writes, "parallel_direct_writes", 0, 38},
    {Feature::allow_mmap, "allow_mmap", flag_direct_io_allow_mmap, 0},
    {Feature::killpriv_v2, "killpriv_v2", flag(FUSE_HANDLE_KILLPRIV_V2), 0},
    {Feature::parallel_dirops, "parallel_dirops", flag(FUSE_PARALLEL_DIROPS), 0},
    {Feature::async_dio, "async_dio", flag(FUSE_ASYNC_DIO), 0},
    {Feature::large_requests, "large_requests", flag(FUSE_MAX_PAGES), 0},
    {Feature::explicit_inval, "explicit_inval", flag(FUSE_EXPLICIT_INVAL_DATA), 0},
    {Feature::readdirplus, "readdirplus", flag(FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO), 0},
    {Feature::atomic_o_trunc, "atomic_o_trunc", flag(FUSE_ATOMIC_O_TRUNC), 0},
    {Feature::noflush, "noflush", 0, 35},
}};

constexpr bool rows_are_in_order() {
  for (size_t i = 0; i < rows.size(); ++i)
    if (index(rows[i].feature) != i) return false;
  return true;
}
static_assert(rows_are_in_order());

// The protocol whose structs the code below speaks.
constexpr uint32_t spoken_minor = std::min<uint32_t>(38, FUSE_KERNEL_MINOR_VERSION);
// Direct requests through a loop device or io_uring count as background; the kernel's default of 12
// would be the depth of the whole mount.
constexpr uint16_t max_background = 4096;
constexpr uint16_t congestion_threshold = 3072;
constexpr uint32_t page_bytes = 4096;

}  // namespace

std::string_view feature_name(Feature feature) {
  return rows[index(feature)].name;
}

Result<FeatureSet> parse_features(std::string_view list) {
  FeatureSet set;
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    const std::string_view word = list.substr(0, comma);
    list.remove_prefix(std::min(comma + 1, list.size()));
    if (word.empty()) continue;
    const auto row = std::ranges::find(rows, word, &Row::name);
    if (row == rows.end())
      return fail(Code::invalid, "no kernel feature is called '" + std::string(word) + "'");
    set.set(index(row->feature));
  }
  return set;
}

Negotiation negotiate(const fuse_init_in& in, const FeatureSet& without,
                      const FeatureSet& transport) {
  uint64_t offered = in.flags;
  if (in.flags & FUSE_INIT_EXT) offered |= uint64_t{in.flags2} << 32;

  Negotiation result{};
  KernelFeatures& features = result.features;
  features.protocol_major = in.major;
  features.protocol_minor = in.minor;
  features.offered = transport;
  uint64_t wanted = FUSE_ASYNC_READ | FUSE_BIG_WRITES | (offered & FUSE_INIT_EXT);
  for (const Row& row : rows) {
    const bool by_flag = row.init_flags != 0 && (offered & row.init_flags) == row.init_flags;
    const bool by_version = row.minor != 0 && in.minor >= row.minor;
    if (by_flag || by_version) features.offered.set(index(row.feature));
    if (by_flag && !without[index(row.feature)]) wanted |= row.init_flags;
  }
  features.used = features.offered & ~without;
  const bool large = features.used[index(Feature::large_requests)];
  features.max_request_bytes = large ? max_request_bytes : 32 * page_bytes;
  features.max_background = max_background;

  fuse_init_out& out = result.reply;
  wanted &= offered;
  out.major = FUSE_KERNEL_VERSION;
  out.minor = std::min(in.minor, spoken_minor);
  out.max_readahead = in.max_readahead;
  out.flags = static_cast<uint32_t>(wanted);
  out.flags2 = static_cast<uint32_t>(wanted >> 32);
  out.max_background = max_background;
  out.congestion_threshold = congestion_threshold;
  out.max_write = features.max_request_bytes;
  out.max_pages = large ? max_request_bytes / page_bytes : 0;
  out.time_gran = 1;
  return result;
}

uint32_t open_flags(const FeatureSet& used) {
  uint32_t flags = FOPEN_DIRECT_IO;
  if (used[index(Feature::parallel_direct_writes)]) flags |= FOPEN_PARALLEL_DIRECT_WRITES;
  if (used[index(Feature::noflush)]) flags |= FOPEN_NOFLUSH;
  return flags;
}

}  // namespace lamina
