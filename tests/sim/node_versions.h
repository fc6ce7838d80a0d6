// SPDX-License-Identifier: Apache-2.0
// A12 and A3 on the medium: the nodes that lie there, those of dead checkpoints included, never
// show two contents under one id and version. So a node table made by a scan cannot take the one
// for the other, and no mark need keep the ids of different lives apart.
// Thread-safety: none. The media are looked at as they are; nothing of the pool is used.
#pragma once

#include "pool_machine.h"
#include "report.h"

namespace lamina::sim {

void check_node_versions(const PoolMachine& machine, Report& report);

}  // namespace lamina::sim
