// SPDX-License-Identifier: Apache-2.0
// The tables of a checkpoint tell which segments are free, so they are believed whole or not at all
// (B9): where a page has no good copy the checkpoint is not used, and where none is left the pool
// is not served before a repair.
#include <gtest/gtest.h>

#include <iterator>

#include "engine_repair_fixture.h"

namespace lamina {
namespace {

class PoolWithoutTables : public ADamagedPool {
 protected:
  // Both copies of one page of the so many newest checkpoints.
  void destroy_a_page_of(size_t checkpoints) {
    const auto all = places().tables();
    ASSERT_GT(all.size(), checkpoints);
    for (auto newest = all.rbegin();
         newest != std::next(all.rbegin(), static_cast<int>(checkpoints)); ++newest) {
      const auto& pages = newest->second;
      const auto page = std::next(pages.begin(), static_cast<int>(noise_() % pages.size()));
      ASSERT_EQ(page->second.size(), 2u);
      for (const Place& place : page->second) spoil(place);
    }
  }
};

TEST_P(PoolWithoutTables, TheOlderOnesServeWhereThoseOfTheNewestAreBad) {
  crash();  // so that what the log has is in no tables
  destroy_a_page_of(1);
  open();
  if (HasFatalFailure()) return;
  expect_all("from the older checkpoint");
  // What is free by them is: new data lands on nothing that is in use.
  for (int i = 0; i < 300; ++i) put("other", noise_() % device_blocks);
  ASSERT_TRUE(wait(pool_->checkpoint()));
  ASSERT_TRUE(wait(pool_->count_shares()));
  expect_all("with more of it");
  expect_healed("tables");
}

TEST_P(PoolWithoutTables, NothingIsServedOrWrittenWhereAllAreBad) {
  crash();
  destroy_a_page_of(2);
  const uint64_t written = medium_.writes() + slow_.writes();
  const auto refused = wait(Pool::open(blobs_again(), settings_));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::corrupt) << refused.error().message;
  EXPECT_NE(refused.error().message.find("lamina repair"), std::string::npos)
      << refused.error().message;
  EXPECT_EQ(medium_.writes() + slow_.writes(), written);
  const auto repaired = repair_it();
  ASSERT_TRUE(repaired) << repaired.error().message;
  open();
  expect_all("after a repair");
  for (int i = 0; i < 300; ++i) put("other", noise_() % device_blocks);
  ASSERT_TRUE(wait(pool_->count_shares()));
  expect_all("with more of it");
}

INSTANTIATE_TEST_SUITE_P(Kinds, PoolWithoutTables,
                         testing::Values(std::nullopt, BlobKind::compression), [](const auto& one) {
                           return one.param ? name_of(*one.param) : std::string("journal");
                         });

}  // namespace
}  // namespace lamina
