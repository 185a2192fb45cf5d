#include "cli/bench/options.h"

#include "gtest/gtest.h"

namespace cli::bench {
namespace {

std::string ErrorOf(const OptionTexts& texts) {
  const absl::StatusOr<BenchOptions> options = ParseOptions(texts);
  return options.ok() ? "" : std::string(options.status().message());
}

TEST(ParseOptions, PagesOutByDefault) {
  const absl::StatusOr<BenchOptions> options = ParseOptions({});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->adversary, Adversary::kPageOut);
  EXPECT_EQ(options->modes.size(), 4u);
  EXPECT_EQ(options->length, std::chrono::seconds(10));
  EXPECT_FALSE(options->pressure_bytes || options->cgroup_bytes || options->size_bytes);
  EXPECT_EQ(options->command, "mpool bench --secs 10");
}

TEST(ParseOptions, PressureWhereASizeOrACgroupIsAskedFor) {
  const absl::StatusOr<BenchOptions> options = ParseOptions({.file = "it's",
                                                             .modes = "pool,malloc,pool",
                                                             .pressure = "1.5G",
                                                             .cgroup = "64M",
                                                             .size = "8M",
                                                             .secs = 0.5});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->adversary, Adversary::kPressure);
  EXPECT_EQ(options->pressure_bytes, uint64_t{3} << 29);
  EXPECT_EQ(options->cgroup_bytes, 64u << 20);
  EXPECT_EQ(options->size_bytes, 8u << 20);
  EXPECT_EQ(options->modes, (std::vector{Mode::kMalloc, Mode::kPool})) << "in order, once each";
  EXPECT_EQ(options->length, std::chrono::milliseconds(500));
  EXPECT_EQ(
      options->command,
      "mpool bench --modes pool,malloc,pool --cgroup 64M --pressure 1.5G --size 8M --secs 0.5 "
      "'it'\\''s'");
}

TEST(ParseOptions, ACgroupWithoutPressure) {
  const absl::StatusOr<BenchOptions> options = ParseOptions({.cgroup = "64M", .adversary = "none"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->adversary, Adversary::kNone);
}

TEST(ParseOptions, SaysWhatIsWrongWithWhichOption) {
  const struct {
    OptionTexts texts;
    const char* reason;
  } cases[] = {{{.modes = "malloc,bogus"}, "no mode 'bogus'"},
               {{.modes = ""}, "no mode ''"},
               {{.pressure = "much"}, "--pressure: 'much' is no size"},
               {{.pressure = "1"}, "--pressure: at least 1 MiB"},
               {{.cgroup = "1M"}, "--cgroup: at least 32 MiB"},
               {{.size = "1K"}, "--size: at least 32 KiB"},
               {{.adversary = "bogus"}, "no 'bogus'"},
               {{.adversary = "pressure"}, "needs --pressure SIZE"},
               {{.pressure = "64M", .adversary = "none"}, "makes no sense with --adversary none"},
               {{.secs = 0}, "--secs"},
               {{.secs = -1}, "--secs"},
               {{.secs = 1e9}, "--secs"}};
  for (const auto& [texts, reason] : cases) {
    EXPECT_NE(ErrorOf(texts).find(reason), std::string::npos) << ErrorOf(texts);
  }
}

}  // namespace
}  // namespace cli::bench
