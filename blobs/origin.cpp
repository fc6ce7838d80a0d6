// SPDX-License-Identifier: Apache-2.0
#include "blobs/origin.h"

#include <array>
#include <span>
#include <vector>

#include "base/check.h"
#include "blobs/varint.h"

namespace lamina {

Entry origin_entry(const Origin& origin) {
  LAMINA_CHECK(is_origin(origin.generation) && origin.path.size() <= origin_path_limit);
  const ImageFacts& image = origin.image;
  std::vector<std::byte> out;
  for (const uint64_t number :
       {origin.size_bytes, image.size_bytes, image.mtime_ns, image.inode, image.sample})
    put_varint(out, number);
  Entry entry;
  entry.kind = EntryKind::origin;
  entry.address = {origin.generation, 0};
  entry.value.assign(reinterpret_cast<const char*>(out.data()), out.size());
  entry.value += origin.path;
  return entry;
}

Result<Origin> unpack_origin(const Entry& entry) {
  std::span<const std::byte> in = std::as_bytes(std::span(entry.value));
  std::array<uint64_t, 5> numbers{};
  for (uint64_t& number : numbers) {
    const auto value = get_varint(in);
    if (!value) return fail(Code::corrupt, "an external origin is cut short");
    number = *value;
  }
  Origin origin;
  origin.generation = entry.address.generation;
  origin.size_bytes = numbers[0];
  origin.image = {numbers[1], numbers[2], numbers[3], numbers[4]};
  origin.path.assign(reinterpret_cast<const char*>(in.data()), in.size());
  const bool valid = is_origin(origin.generation) && origin.size_bytes > 0 &&
                     origin.size_bytes <= origin_size_limit &&
                     origin.size_bytes <= origin.image.size_bytes && origin.path.starts_with('/') &&
                     origin.path.size() <= origin_path_limit;
  if (!valid) return fail(Code::corrupt, "an external origin is out of range");
  return origin;
}

}  // namespace lamina
