// SPDX-License-Identifier: Apache-2.0
#include "engine/maps/extent.h"

#include <algorithm>

#include "base/check.h"

namespace lamina {

Extent clip(const Extent& extent, DeviceBlock begin, DeviceBlock end) {
  Extent part = extent;
  part.begin = std::max(begin, extent.begin);
  part.end = std::min(end, extent.end);
  LAMINA_CHECK(part.begin < part.end);
  if (part.kind == ExtentKind::data) part.address = extent.address + (part.begin - extent.begin);
  return part;
}

bool continues(const Extent& left, const Extent& right) {
  if (left.end != right.begin || left.kind != right.kind || left.home != right.home) return false;
  if (left.alias != right.alias || left.reserved != right.reserved || left.certain != right.certain)
    return false;
  if (left.kind != ExtentKind::data) return true;
  return left.address.generation == right.address.generation &&
         left.address.block + left.length().value == right.address.block;
}

}  // namespace lamina
