// SPDX-License-Identifier: Apache-2.0
// What lamina asks of the kernel's FUSE, each by name: negotiated in INIT or by the flags of an
// open, shown in `status`, and possible to leave out one by one.
// Thread-safety: plain values and pure functions.
#pragma once

#include <linux/fuse.h>

#include <array>
#include <bitset>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace lamina {

enum class Feature : uint8_t {
  multishot,               // requests by IORING_OP_READ_MULTISHOT, else poll and read()
  parallel_direct_writes,  // writes of one device do not wait for each other
  allow_mmap,              // MAP_SHARED of what is open for direct I/O
  killpriv_v2,             // no GETXATTR "security.capability" before fallocate
  parallel_dirops,         // look-ups do not wait for each other
  async_dio,               // a direct request of several pieces sends them all at once
  large_requests,          // up to 1 MiB in one request, else 128 KiB
  explicit_inval,          // cached pages go only when lamina says so
  readdirplus,             // attributes come with the listing
  atomic_o_trunc,          // O_TRUNC comes with OPEN, else as a SETATTR before it
  noflush,                 // no request at close()
};
inline constexpr size_t feature_count = 11;
using FeatureSet = std::bitset<feature_count>;

constexpr size_t index(Feature feature) {
  return static_cast<size_t>(feature);
}
std::string_view feature_name(Feature feature);
// Of a list such as "multishot,allow_mmap"; empty is the empty set. Error invalid names the word.
Result<FeatureSet> parse_features(std::string_view list);

// What came of it.
struct KernelFeatures {
  uint32_t protocol_major = 0, protocol_minor = 0;  // the kernel's; 0: not yet asked
  FeatureSet offered;                               // by this kernel
  FeatureSet used;                                  // of them, what was not left out
  uint32_t max_request_bytes = 0;
  uint32_t max_background = 0;
};

inline constexpr uint32_t max_request_bytes = 1u << 20;  // of payload; the kernel's usual limit

// The reply to INIT and what it means. `in` as the kernel sent it; `transport` holds multishot if
// the reactor found it.
struct Negotiation {
  KernelFeatures features;
  fuse_init_out reply;
};
Negotiation negotiate(const fuse_init_in& in, const FeatureSet& without,
                      const FeatureSet& transport);

// The FOPEN_ flags of every open of a device. The same ones always: a single open that differs
// would put the inode into another mode for all.
uint32_t open_flags(const FeatureSet& used);

}  // namespace lamina
