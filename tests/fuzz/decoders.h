// SPDX-License-Identifier: Apache-2.0
// Every decoder of what the medium holds, a person writes or a kernel asks, as a fuzzer sees it:
// bytes in, and nothing that they are may crash it. Checksums are made to fit first, since damage
// that they catch never gets this far. Whatever a decoder accepts is packed again and must come
// back the same, so that the asserts of the packers tell what an unpacker forgot to refuse.
// Thread-safety: pure functions. Errors: a failed LAMINA_CHECK ends the process.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace lamina::fuzz {

using Bytes = std::vector<std::byte>;

struct Decoder {
  const char* name;
  std::vector<Bytes> (*samples)();             // good ones, to begin with
  void (*decode)(std::span<const std::byte>);  // takes any bytes, of any length
  unsigned costs = 1;                          // as much as so many others
};

std::span<const Decoder> decoders_of_blobs();
std::span<const Decoder> decoders_of_engine();
std::span<const Decoder> decoders_of_config();
std::span<const Decoder> decoders_of_requests();

std::vector<Decoder> all_decoders();
const Decoder* find_decoder(std::string_view name);  // static storage; null: none is called so

}  // namespace lamina::fuzz
