// Svg: a drawing for a page, element by element.
//
// Colours are left to the page's style sheet, by classes. What a text takes is estimated from its
// letters, so that charts can make room for it.

#ifndef CLI_BENCH_SVG_H_
#define CLI_BENCH_SVG_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cli::bench {

inline constexpr double kFontSize = 12;

struct Point {
  double x, y;
};
enum class Anchor { kStart, kMiddle, kEnd };

// Units are those of the view box. Well-formed whatever the texts are.
class Svg {
 public:
  // `label` is the text alternative: what the picture shows, in words.
  Svg(double width, double height, std::string_view css_class, std::string_view label);

  void Line(Point from, Point to, std::string_view css_class);
  void Rect(Point corner, double width, double height, std::string_view css_class,
            double opacity = 1);
  void Polyline(std::span<const Point> points, std::string_view css_class);
  void Text(Point at, Anchor anchor, std::string_view css_class, std::string_view text,
            double size = kFontSize);
  // The drawing as an element. Nothing can be drawn afterwards.
  std::string Finish();

  // Not less than what the text takes in a usual sans-serif font.
  static double TextWidth(std::string_view text, double size = kFontSize);

  double width() const { return width_; }
  double height() const { return height_; }

 private:
  double width_, height_;
  std::string text_;
};

// Moves the places of labels apart, so that each has `gap` and all lie between `low` and `high`, as
// little as that takes. Precondition: there is room for them.
std::vector<double> SpreadLabels(const std::vector<double>& wanted, double gap, double low,
                                 double high);

}  // namespace cli::bench

#endif  // CLI_BENCH_SVG_H_
