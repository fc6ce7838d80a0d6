// SPDX-License-Identifier: Apache-2.0
// The oracle must accept a store that keeps the promises and catch each way to break them.
#include <gtest/gtest.h>

#include "life.h"
#include "memory_store.h"

namespace lamina::sim {
namespace {

// The first of `seeds` that shows something wrong; 0: none.
uint64_t first_caught(Bug bug, uint64_t seeds, std::string* what) {
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    MemoryMachine machine(bug);
    Report report;
    LifeOptions options;
    options.lives = 8;
    live(machine, seed, options, {}, report);
    if (report.ok()) continue;
    *what = report.what();
    return seed;
  }
  return 0;
}

class OracleCatches : public testing::TestWithParam<Bug> {};

TEST_P(OracleCatches, EachBugWithinAFewSeeds) {
  std::string what;
  EXPECT_NE(first_caught(GetParam(), 200, &what), 0u);
  RecordProperty("violation", what);
  if (testing::FLAGS_gtest_also_run_disabled_tests) std::fprintf(stderr, "%s\n", what.c_str());
}

INSTANTIATE_TEST_SUITE_P(Bugs, OracleCatches,
                         testing::Values(Bug::loses_durable, Bug::skips_a_step, Bug::tears_a_block,
                                         Bug::goes_back_in_time, Bug::writes_elsewhere,
                                         Bug::swaps_devices, Bug::resurrects_erased,
                                         Bug::shrink_keeps_data, Bug::renames_in_two_steps,
                                         Bug::forgets_attributes, Bug::forgets_xattrs,
                                         Bug::forgets_sizes, Bug::reads_stale, Bug::reuses_ids,
                                         Bug::applies_late, Bug::forks_one_by_one,
                                         Bug::forks_follow, Bug::forgets_copies));

TEST(Oracle, AcceptsAStoreThatKeepsItsPromises) {
  std::string what;
  EXPECT_EQ(first_caught(Bug::none, 100, &what), 0u) << what;
}

// A flush of a device whose newest operation changed nothing has no entry to wait for, so what
// another device did before it may be missing.
TEST(Oracle, ADurableOperationThatChangedNothingSaysNothingOfTheCut) {
  Operations operations;
  Cell<int> size(1), read_only(0);
  const OperationIndex resize = operations.begin("resize", true);
  size.push(2, resize);
  operations.note_change(resize);
  operations.complete(resize);
  const OperationIndex nothing = operations.begin("set read-only to what it is", true);
  read_only.push(0, nothing);
  operations.complete(nothing);
  operations.make_durable(nothing);
  CutSearch search(operations);
  EXPECT_TRUE(search.observe("size", size, {true, false}));
  EXPECT_TRUE(search.observe("read-only", read_only, {true, true})) << search.conflict();
}

// Nor has one of which nothing is there, since there was no space for any of it.
TEST(Oracle, ARefusedWriteSaysNothingOfTheCut) {
  Oracle oracle{Permissions{}};
  Report report;
  const DeviceRef device = oracle.create("a", 8 * block_size, {}).device;
  const std::vector<std::byte> one(block_size, std::byte{1}), none(block_size);
  const OperationIndex refused = oracle.write(*device, 0, 7, {false}, one);
  oracle.settle_failed(refused, *device, device->bytes(), 0, none, report);
  EXPECT_TRUE(report.ok());
  EXPECT_FALSE(oracle.operations().at(refused).changes);
  const OperationIndex done = oracle.write(*device, 0, 8, {false}, one);
  oracle.completed(done);
  EXPECT_TRUE(oracle.operations().at(done).changes);
}

}  // namespace
}  // namespace lamina::sim
