// SPDX-License-Identifier: Apache-2.0
// Errors are values: Result<T> carries either what was asked for or why it could not be had.
// Thread-safety: plain values. No exception crosses a folder.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <utility>

namespace lamina {

// What kind of thing went wrong. fuse/ turns each into one errno, in a switch without default.
enum class Code : uint8_t {
  invalid,        // the request makes no sense: bad name, bad argument, unknown attribute
  not_found,      // no such device, attribute, range or file
  exists,         // the name is taken
  not_permitted,  // this is never allowed here, or not for this caller
  access,         // the caller lacks the permission
  read_only,      // the pool or the device is read-only
  busy,           // in use by somebody else
  no_space,       // the pool has no room for new data
  too_big,        // a size or a value past the limit
  name_too_long,  // a name past 255 bytes
  unsupported,    // this kernel, file system or format version cannot do it
  io,             // a disk failed or a checksum did not match: the range cannot be read
  corrupt,        // metadata that decodes to nonsense
  no_memory,      // a bounded buffer is exhausted
};

struct [[nodiscard]] Error {
  Code code = Code::io;
  std::string message;  // what was tried, on what, and what to do next; empty where the code says it
};

template <class T = void>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(Code code, std::string message = {}) {
  return std::unexpected<Error>(Error{code, std::move(message)});
}

template <class T>
std::unexpected<Error> forward_error(Result<T>& result) {
  return std::unexpected<Error>(std::move(result.error()));
}

}  // namespace lamina

// Leaves the function with the error of `expression`, a Result<void>, if it has one.
#define LAMINA_TRY(expression)                                                        \
  do {                                                                                \
    if (auto lamina_try_ = (expression); !lamina_try_) return forward_error(lamina_try_); \
  } while (false)

// The same inside a coroutine. The awaited call is bound to a name first: temporaries inside a
// co_await expression are where g++ 12 has been wrong.
#define LAMINA_CO_TRY(expression)                                                        \
  do {                                                                                   \
    auto lamina_try_ = (expression);                                                     \
    if (!lamina_try_) co_return forward_error(lamina_try_);                              \
  } while (false)
