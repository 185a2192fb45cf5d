#include "mpool/metrics.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace mpool {
namespace {

bool Has(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

TEST(OpenMetricsText, HasAFamilyForEachNumberWithASampleForEachPool) {
  struct mpool_stat first = {}, second = {};
  first.gets = 12;
  first.pins = 3;
  first.hugetlb_bytes = 2097152;
  second.gets = 7;
  const std::string text = OpenMetricsText({{"orders", first}, {"stock", second}});
  EXPECT_TRUE(Has(text,
                  "# TYPE mpool_gets counter\n"
                  "# HELP mpool_gets Pages asked for.\n"
                  "mpool_gets_total{pool=\"orders\"} 12\n"
                  "mpool_gets_total{pool=\"stock\"} 7\n"))
      << text;
  EXPECT_TRUE(Has(text, "# TYPE mpool_pins gauge\n")) << text;
  EXPECT_TRUE(Has(text, "\nmpool_pins{pool=\"orders\"} 3\n")) << text;
  EXPECT_TRUE(Has(text,
                  "# TYPE mpool_hugetlb_bytes gauge\n"
                  "# UNIT mpool_hugetlb_bytes bytes\n"))
      << text;
  EXPECT_FALSE(Has(text, "# EOF"));
}

TEST(OpenMetricsText, EscapesWhatALabelMayNotHold) {
  const std::string text = OpenMetricsText({{"a\"b\\c\nd\xff\xc3\xa9\xed\xa0\x80", {}}});
  EXPECT_TRUE(
      Has(text,
          "mpool_gets_total{pool=\"a\\\"b\\\\c\\nd\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd"
          "\xef\xbf\xbd\"} 0\n"))
      << text;
}

TEST(Metrics, AreAllNumbersOfTheStructInItsOrder) {
  std::set<std::string> names;
  uint64_t mpool_stat::*last = nullptr;
  for (const Metric& metric : Metrics()) {
    names.insert(metric.name);
    if (last != nullptr) {
      const struct mpool_stat stat = {};
      EXPECT_EQ(&(stat.*metric.field), &(stat.*last) + 1) << metric.name;
    }
    last = metric.field;
  }
  EXPECT_EQ(names.size(), Metrics().size());
}

}  // namespace
}  // namespace mpool
