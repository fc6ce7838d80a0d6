// SPDX-License-Identifier: Apache-2.0
#include "fuse/errno_of.h"

#include <cerrno>

namespace lamina {

int errno_of(Code code) {
  switch (code) {
    case Code::invalid:
      return EINVAL;
    case Code::not_found:
      return ENOENT;
    case Code::exists:
      return EEXIST;
    case Code::not_permitted:
      return EPERM;
    case Code::access:
      return EACCES;
    case Code::read_only:
      return EROFS;
    case Code::busy:
      return EBUSY;
    case Code::no_space:
      return ENOSPC;
    case Code::too_big:
      return EFBIG;
    case Code::name_too_long:
      return ENAMETOOLONG;
    case Code::unsupported:
      return EOPNOTSUPP;
    case Code::io:
      return EIO;
    case Code::corrupt:
      return EIO;
    case Code::no_memory:
      return ENOMEM;
  }
  return EIO;  // a value that is no Code: memory was damaged
}

}  // namespace lamina
