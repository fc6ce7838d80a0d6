// SPDX-License-Identifier: Apache-2.0
// What a person writes: pool files, and quantities in them and on the command line.
#include <cstring>
#include <string>

#include "base/check.h"
#include "config/pool_config.h"
#include "config/quantity.h"
#include "decoders.h"

namespace lamina::fuzz {
namespace {

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Bytes bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

void decode_pool_file(std::span<const std::byte> bytes) {
  const auto config = parse_pool_config(text_of(bytes), "/etc/lamina/pool.yaml");
  if (!config) {
    LAMINA_CHECK(config.error().message.starts_with("/etc/lamina/pool.yaml"));
    return;
  }
  LAMINA_CHECK(!config->blobs.empty() && check_pool_name(config->name));
}

void decode_quantity(std::span<const std::byte> bytes) {
  const std::string text = text_of(bytes);
  if (const auto size = parse_size(text)) {
    const auto again = parse_size(std::to_string(*size));
    LAMINA_CHECK(again && *again == *size);
  }
  (void)parse_duration(text);
  if (const auto percent = parse_percentage(text)) LAMINA_CHECK(*percent >= 0 && *percent <= 100);
}

std::vector<Bytes> pool_files() {
  return {bytes_of("pool: a\nblobs:\n  - {name: fast, kind: journal, path: /dev/a}\n"),
          bytes_of(R"(pool: vmstore
blobs:
  - {name: fast, kind: journal,     path: /dev/fast, tier: 0, offset: 1M, size: 10G}
  - {name: bulk, kind: transparent, path: /dev/bulk, tier: 1}
  - {name: cold, kind: compression, path: /dev/cold, tier: 2, level: 9}
aging:
  fast: {keep_free: 30%, idle: 10m}
memory: {nodes: 16M, layers: 32M, tail: 33M, sums: 34M, frames: 35M, requests: 36M}
verify: moves
flush_after: 2s
segment: 4M
erase: 64K
reserve: 5%
reactors: 2
preallocate: check
promote: true
origins: [/srv/images]
log: /var/log/lamina.log
)")};
}

std::vector<Bytes> quantities() {
  return {bytes_of("512M"), bytes_of("1.5h"), bytes_of("30%"), bytes_of("18446744073709551615")};
}

}  // namespace

std::span<const Decoder> decoders_of_config() {
  static const Decoder all[] = {
      {"pool_file", pool_files, decode_pool_file},
      {"quantity", quantities, decode_quantity},
  };
  return all;
}

}  // namespace lamina::fuzz
