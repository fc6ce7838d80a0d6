// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "blobs/varint.h"
#include "engine/devices.h"

namespace lamina {

std::string pack_attributes(const Attributes& a, bool read_only) {
  std::vector<std::byte> out;
  for (const uint64_t v : {uint64_t{a.mode}, uint64_t{a.uid}, uint64_t{a.gid}, a.atime_ns,
                           a.mtime_ns, a.ctime_ns, uint64_t{read_only}})
    put_varint(out, v);
  return {reinterpret_cast<const char*>(out.data()), out.size()};
}

Result<UnpackedAttributes> unpack_attributes(std::string_view value) {
  std::span<const std::byte> in(reinterpret_cast<const std::byte*>(value.data()), value.size());
  std::array<uint64_t, 7> v{};
  for (uint64_t& field : v) {
    const auto got = get_varint(in);
    if (!got) return fail(Code::corrupt, "attributes end early");
    field = *got;
  }
  if (!in.empty() || v[0] > 07777 || v[1] > UINT32_MAX || v[2] > UINT32_MAX || v[6] > 1)
    return fail(Code::corrupt, "attributes are out of range");
  UnpackedAttributes out;
  out.attributes = {static_cast<uint32_t>(v[0]),
                    static_cast<uint32_t>(v[1]),
                    static_cast<uint32_t>(v[2]),
                    v[3],
                    v[4],
                    v[5]};
  out.read_only = v[6] != 0;
  return out;
}

}  // namespace lamina
