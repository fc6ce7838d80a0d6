// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "base/units.h"
#include "config/quantity.h"

namespace lamina {
namespace {

TEST(Quantity, SizesAreInPowersOf1024) {
  EXPECT_EQ(parse_size("10G").value(), 10 * gib);
  EXPECT_EQ(parse_size("512m").value(), 512 * mib);
  EXPECT_EQ(parse_size("64KiB").value(), 64 * kib);
  EXPECT_EQ(parse_size("1.5T").value(), 1536 * gib);
  EXPECT_EQ(parse_size("4097").value(), 4097u);
  EXPECT_EQ(parse_size("0").value(), 0u);
}

TEST(Quantity, WhatIsNoSizeIsRefusedWithWhatWasExpected) {
  for (const char* text : {"", "G", "-1G", "10GB", "10 G", "10Gx", "1.5", "0x10", "1e3", "ten"}) {
    const auto size = parse_size(text);
    ASSERT_FALSE(size) << text;
    EXPECT_EQ(size.error().code, Code::invalid) << text;
    EXPECT_NE(size.error().message.find("expected a size"), std::string::npos);
  }
}

TEST(Quantity, SizesThatOverflowAreTooBig) {
  for (const char* text : {"16384P", "18446744073709551616", "99999999999999999999G"}) {
    const auto size = parse_size(text);
    ASSERT_FALSE(size) << text;
    EXPECT_EQ(size.error().code, Code::too_big) << text;
  }
  EXPECT_EQ(parse_size("16383P").value(), 16383 * pib);
}

TEST(Quantity, SizesPrintAsTheyAreTyped) {
  EXPECT_EQ(format_size(10 * gib), "10G");
  EXPECT_EQ(format_size(1536 * mib), "1.5G");
  EXPECT_EQ(format_size(4096), "4K");
  EXPECT_EQ(format_size(1000), "1000");
  EXPECT_EQ(format_size(0), "0");
  EXPECT_EQ(parse_size(format_size(3 * pib)).value(), 3 * pib);
}

TEST(Quantity, DurationsHaveUnits) {
  EXPECT_EQ(parse_duration("1s").value(), 1'000'000'000u);
  EXPECT_EQ(parse_duration("10m").value(), 600'000'000'000u);
  EXPECT_EQ(parse_duration("250ms").value(), 250'000'000u);
  EXPECT_EQ(parse_duration("0.5s").value(), 500'000'000u);
  EXPECT_EQ(parse_duration("3").value(), 3'000'000'000u);
  EXPECT_FALSE(parse_duration("3 weeks"));
  EXPECT_FALSE(parse_duration("-1s"));
  EXPECT_FALSE(parse_duration("99999999999d"));
  EXPECT_EQ(format_duration(600'000'000'000u), "10m");
  EXPECT_EQ(format_duration(10'000'000u), "10ms");
}

TEST(Quantity, PercentagesEndAtAHundred) {
  EXPECT_DOUBLE_EQ(parse_percentage("30%").value(), 30);
  EXPECT_DOUBLE_EQ(parse_percentage("12.5%").value(), 12.5);
  for (const char* text : {"30", "101%", "%", "-1%", ""})
    EXPECT_FALSE(parse_percentage(text)) << text;
}

TEST(Quantity, TimesAreRfc3339InUtc) {
  EXPECT_EQ(format_time(1'000'000'000ull * 1'000'000'000ull), "2001-09-09T01:46:40Z");
}

}  // namespace
}  // namespace lamina
