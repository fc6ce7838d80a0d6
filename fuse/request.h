// SPDX-License-Identifier: Apache-2.0
// One request of the kernel, whatever way it came: its header, what follows it, and room for the
// reply.
// Ownership: the memory is the transport's and lives until the reply is sent. `body` may overlap
//   `room`: it is dead once any part of the reply has been written.
// Thread-safety: one coroutine.
// Units: bytes; errors are positive errnos.
#pragma once

#include <linux/fuse.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>

#include "base/check.h"
#include "base/result.h"
#include "fuse/errno_of.h"
#include "fuse/inode.h"

namespace lamina {

// Later than the oldest kernel headers that lamina is built with: FUSE_COPY_FILE_RANGE, answered by
// the eight bytes of how much was copied.
inline constexpr uint32_t copy_file_range_64 = 53;

struct Request {
  fuse_in_header header{};
  std::span<const std::byte> body;
  std::span<std::byte> room;  // of the reply's data; page aligned, at least min_room

  int error = 0;
  size_t reply_bytes = 0;  // of `room`
  bool silent = false;     // the kernel expects no reply

  static constexpr size_t min_room = 4096;

  Inode inode() const { return Inode{header.nodeid}; }

  // The fixed part that begins the body; null if the body is too short for it.
  template <class Argument>
  const Argument* argument() const {
    if (body.size() < sizeof(Argument)) return nullptr;
    return reinterpret_cast<const Argument*>(body.data());
  }
  // The string at `offset` of the body, without the zero that must end it; sets `ok` to false
  // where there is none. `offset` moves behind it.
  std::string_view text(size_t& offset, bool& ok) const {
    if (offset < body.size()) {
      const char* begin = reinterpret_cast<const char*>(body.data()) + offset;
      const size_t length = strnlen(begin, body.size() - offset);
      if (length < body.size() - offset) {
        offset += length + 1;
        return {begin, length};
      }
    }
    ok = false;
    return {};
  }

  void fail(int errno_value) {
    error = errno_value;
    reply_bytes = 0;
  }
  void fail(const Error& reason) { fail(errno_of(reason.code)); }
  void succeed() { reply_bytes = 0; }
  template <class Struct>
  void answer(const Struct& value) {
    static_assert(sizeof(Struct) <= min_room);
    std::memcpy(room.data(), &value, sizeof value);
    reply_bytes = sizeof value;
  }
  template <class First, class Second>
  void answer(const First& first, const Second& second) {
    static_assert(sizeof(First) + sizeof(Second) <= min_room);
    std::memcpy(room.data(), &first, sizeof first);
    std::memcpy(room.data() + sizeof first, &second, sizeof second);
    reply_bytes = sizeof first + sizeof second;
  }
  // At most as much as there is room for; requests whose reply may be long ask for a length first.
  void answer_bytes(std::string_view bytes) {
    LAMINA_CHECK(bytes.size() <= room.size());
    if (!bytes.empty()) std::memcpy(room.data(), bytes.data(), bytes.size());
    reply_bytes = bytes.size();
  }
};

}  // namespace lamina
