// SPDX-License-Identifier: Apache-2.0
// The kinds of runs that the simulator knows, each a pure function of its seed.
// Thread-safety: one run at a time in a process. What a crash abandons is never freed, so a program
// that does many runs forks now and then.
#pragma once

#include <cstdint>
#include <string_view>

#include "life.h"
#include "report.h"

namespace lamina::sim {

// Random pools, work, crashes and recoveries; after each the oracle and the rebuild.
LifeStatistics random_run(uint64_t seed, Report& report);
// The same on three disks of three tiers, between which data ages; blobs of all kinds are added,
// evacuated and removed. Each life is short, so that there are many crashes.
LifeStatistics blobs_run(uint64_t seed, Report& report);
// As the random ones, without crashes in clusters, on a small pool that is overwritten several times over and
// must never be full.
LifeStatistics steady_run(uint64_t seed, Report& report);
// The same beside forks of forks, rollbacks and removals, cleaned meanwhile.
LifeStatistics forks_run(uint64_t seed, Report& report);
// The same on a pool that is nearly full of what one owner overwrites.
LifeStatistics nearly_full_run(uint64_t seed, Report& report);
// The same on three disks of three tiers, between which data ages.
LifeStatistics tiers_run(uint64_t seed, Report& report);
// The same, with blobs of all kinds added, evacuated and removed (A13, D9).
LifeStatistics members_run(uint64_t seed, Report& report);
// More is written than fits: what was acknowledged stays, deleting works and makes room (promise
// 4).
LifeStatistics full_run(uint64_t seed, Report& report);
// Every second crash loses the newest checkpoint: K_old and the log bring everything back (A4, A13).
LifeStatistics fall_back_run(uint64_t seed, Report& report);
// A block of payload, or a record's header, that was durable goes bad while the power is off: that
// range alone may be lost, and nothing is ever wrong (A2, B1).
LifeStatistics damage_run(uint64_t seed, Report& report);
// A block of metadata of any class, or all copies of a node, goes bad while the pool works or is
// closed: nothing is lost, nothing is wrong, and it needs no repair (B1-B8).
LifeStatistics heal_run(uint64_t seed, Report& report);
// Disks fail reads, writes and flushes: what is answered stays true, and where a write or a flush
// fails once nobody notices, now or after a crash at any later moment (A19).
LifeStatistics faults_run(uint64_t seed, Report& report);
// One of several disks fails every write and flush, from some moment on and in all lives after it:
// nobody notices, and all that was on it is still read (A19).
LifeStatistics lost_disk_run(uint64_t seed, Report& report);
// A disk of a lower tier is not there: exactly what lies on it cannot be read, until it is back; or
// its loss is accepted, crashed at any step (A13).
LifeStatistics missing_run(uint64_t seed, Report& report);
// Random pools, small ones of tiers, or forks of forks, whose checkpoints and nodes are destroyed
// at each crash, in a copy, that is repaired and must show the same (B2, C1-C5).
LifeStatistics repair_run(uint64_t seed, Report& report);
// The `seed`-th sequence of up to three operations, crashed at every disk operation of it, with
// several choices of what survives.
LifeStatistics exhaustive_run(uint64_t seed, Report& report);
uint64_t exhaustive_count();

}  // namespace lamina::sim
