// SPDX-License-Identifier: Apache-2.0
// Where the frames of a segment lie by what they say of themselves (B4): for a segment whose frame
// index is damaged. Each begins where the one before it ends; behind one whose header is damaged
// the next is looked for at every place where one may begin, and believed by its keyed checksum.
// Thread-safety: any number at a time. Memory: the segment.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/checksum.h"
#include "base/result.h"
#include "base/task.h"
#include "base/units.h"

namespace lamina {

class Blob;
class PoolState;

// As the index is to say it, in grains: by frame, and behind each where it ends; 0 where nothing is
// known. `place`: of the segment; `segment`: all of its bytes.
std::vector<uint32_t> search_frames(std::span<const std::byte> segment, const Secret& secret,
                                    MetadataPlace place);

// The same of a segment that is read from the medium, as far as that can be. Error io: nothing of
// it can.
Task<Result<std::vector<uint32_t>>> find_frames(const Blob& blob, MetadataPlace place,
                                                Secret secret);
Task<Result<std::vector<uint32_t>>> find_frames(PoolState& pool, Generation generation);

}  // namespace lamina
