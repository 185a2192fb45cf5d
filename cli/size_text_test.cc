#include "cli/size_text.h"

#include <gtest/gtest.h>

namespace cli {
namespace {

constexpr uint64_t kMib = 1 << 20;

TEST(SizeText, AlwaysHasItsUnit) {
  EXPECT_EQ(SizeText(0), "0 B");
  EXPECT_EQ(SizeText(1023), "1023 B");
  EXPECT_EQ(SizeText(64 << 10), "64.0 KiB");
  EXPECT_EQ(SizeText(kMib * 36 / 10), "3.6 MiB");
  EXPECT_EQ(SizeText(kMib << 10), "1.0 GiB");
  EXPECT_EQ(SizeText(~uint64_t{0}), "16384.0 PiB");
}

TEST(SizeText, IsExactWhereThatIsAskedFor) {
  EXPECT_EQ(ExactSizeText(0), "0 B");
  EXPECT_EQ(ExactSizeText(4096), "4 KiB");
  EXPECT_EQ(ExactSizeText(4097), "4097 B");
  EXPECT_EQ(ExactSizeText(3 * kMib), "3 MiB");
}

TEST(ParseSize, KnowsUnitsOfPowersOf1024InAnyCase) {
  for (const char* text :
       {"67108864", "65536K", "65536k", "64M", "64MB", "64MiB", "64 mib", " 64m "}) {
    EXPECT_EQ(ParseSize(text), 64 * kMib) << text;
  }
  EXPECT_EQ(ParseSize("1.5G"), 1536 * kMib);
  EXPECT_EQ(ParseSize("0"), 0u);
  EXPECT_EQ(ParseSize("18446744073709551615"), ~uint64_t{0});
  EXPECT_EQ(ParseSize("2T"), uint64_t{1} << 41);
}

TEST(ParseSize, RefusesWhatIsNoSize) {
  for (const char* text : {"", " ", "M", "-1", "-1M", "1X", "1 2", "1..5M", ".5M", "0x10", "64Mi",
                           "nan", "inf", "18446744073709551616", "16384P", "99999999999999999P"}) {
    EXPECT_EQ(ParseSize(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace cli
