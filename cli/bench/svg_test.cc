#include "cli/bench/svg.h"

#include "gtest/gtest.h"

namespace cli::bench {
namespace {

TEST(Svg, WritesElementsWithEscapedTexts) {
  Svg svg(100, 50.25, "wide", "a < b & \"c\"");
  svg.Line({1, 2}, {3.04, -0.01}, "axis");
  svg.Rect({0, 0}, 10, 5, "bar", 0.5);
  const Point points[] = {{0, 1}, {2, 3.25}};
  svg.Polyline(points, "line");
  svg.Text({5, 6}, Anchor::kEnd, "label", "<1 us\n\xff");
  EXPECT_EQ(
      svg.Finish(),
      "<svg class=\"wide\" viewBox=\"0 0 100 50.2\" role=\"img\" aria-label=\"a &lt; b &amp; "
      "&quot;c&quot;\" xmlns=\"http://www.w3.org/2000/svg\">\n"
      "<line x1=\"1\" y1=\"2\" x2=\"3\" y2=\"0\" class=\"axis\"/>\n"
      "<rect x=\"0\" y=\"0\" width=\"10\" height=\"5\" class=\"bar\" fill-opacity=\"0.50\"/>\n"
      "<polyline class=\"line\" points=\"0,1 2,3.2 \"/>\n"
      "<text x=\"5\" y=\"6\" font-size=\"12\" text-anchor=\"end\" class=\"label\">&lt;1 us??"
      "</text>\n"
      "</svg>\n");
}

TEST(SpreadLabels, MovesOnlyWhatIsTooClose) {
  EXPECT_EQ(SpreadLabels({10, 50}, 14, 0, 100), (std::vector<double>{10, 50}));
  EXPECT_EQ(SpreadLabels({50, 48, 10}, 14, 0, 100), (std::vector<double>{62, 48, 10}));
  EXPECT_EQ(SpreadLabels({99, 98, 97}, 14, 0, 100), (std::vector<double>{100, 86, 72}));
  EXPECT_EQ(SpreadLabels({-5}, 14, 0, 100), (std::vector<double>{0}));
  EXPECT_TRUE(SpreadLabels({}, 14, 0, 100).empty());
}

}  // namespace
}  // namespace cli::bench
