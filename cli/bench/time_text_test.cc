#include "cli/bench/time_text.h"

#include "gtest/gtest.h"

namespace cli::bench {
namespace {

TEST(TimeText, HasTheUnitThatLeavesTwoOrThreeDigits) {
  const struct {
    uint64_t ns;
    const char* text;
  } cases[] = {{0, "0 ns"},           {999, "999 ns"},          {1'000, "1.0 us"},
               {1'234, "1.2 us"},     {9'949, "9.9 us"},        {9'950, "10 us"},
               {999'499, "999 us"},   {999'500, "1.0 ms"},      {4'600'000, "4.6 ms"},
               {35'000'000, "35 ms"}, {2'000'000'000, "2.0 s"}, {5'000'000'000'000, "5000 s"}};
  for (const auto& [ns, text] : cases) EXPECT_EQ(TimeText(ns), text) << ns;
}

TEST(CountText, SeparatesThousands) {
  EXPECT_EQ(CountText(0), "0");
  EXPECT_EQ(CountText(999), "999");
  EXPECT_EQ(CountText(1000), "1,000");
  EXPECT_EQ(CountText(1234567), "1,234,567");
}

}  // namespace
}  // namespace cli::bench
