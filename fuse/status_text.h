// SPDX-License-Identifier: Apache-2.0
// What a pool tells of itself, as text: JSON for programs, Prometheus for monitoring, one range a
// line for what is lost. The keys are a contract: add, never rename.
// Thread-safety: pure functions. Units: bytes, seconds, RFC 3339 in UTC.
#pragma once

#include <string>
#include <vector>

#include "engine/pool.h"
#include "fuse/kernel_features.h"
#include "fuse/process.h"

namespace lamina {

std::string status_json(const PoolStatus& status, const KernelFeatures& kernel,
                        const ProcessStatus& process);
std::string metrics_text(const PoolStatus& status);
// "offset length device-id name" a line, bytes.
std::string lost_text(const std::vector<LostRange>& ranges);
// {verdict: clean | damaged, null while nobody knows, ..., findings: [{rule, where, what}]} of the
// newest check.
std::string check_text(const PoolStatus& status, const std::vector<CheckFinding>& findings);
// `stored`: what its data takes on the medium, bytes.
std::string device_json(const DeviceInfo& info, uint64_t stored);
// {ranges: [{begin, length, state, blob}], next}: `next` is the byte where to go on, null at the
// end.
std::string map_json(const std::vector<MappedRange>& ranges, const std::vector<BlobStatus>& blobs,
                     bool complete);
// {blob, offset, what, segment, frame, node, users: [{device, id, read_only, begin, length,
// alias}], more}.
std::string medium_place_json(const MediumPlace& place);
std::string rfc3339(uint64_t ns_since_1970);
std::string uuid_text(const Uuid& uuid);

}  // namespace lamina
