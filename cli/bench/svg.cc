#include "cli/bench/svg.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "cli/bench/xml.h"

namespace cli::bench {
namespace {

// A tenth of a unit is less than a pixel.
std::string Number(double value) {
  std::string text = absl::StrFormat("%.1f", value);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text == "-0" ? "0" : text;
}

}  // namespace

Svg::Svg(double width, double height, std::string_view css_class, std::string_view label)
    : width_(width), height_(height) {
  text_ = absl::StrCat("<svg class=\"", XmlText(css_class), "\" viewBox=\"0 0 ", Number(width), " ",
                       Number(height), "\" role=\"img\" aria-label=\"", XmlText(label),
                       "\" xmlns=\"http://www.w3.org/2000/svg\">\n");
}

void Svg::Line(Point from, Point to, std::string_view css_class) {
  absl::StrAppend(&text_, "<line x1=\"", Number(from.x), "\" y1=\"", Number(from.y), "\" x2=\"",
                  Number(to.x), "\" y2=\"", Number(to.y), "\" class=\"", XmlText(css_class),
                  "\"/>\n");
}

void Svg::Rect(Point corner, double width, double height, std::string_view css_class,
               double opacity) {
  absl::StrAppend(&text_, "<rect x=\"", Number(corner.x), "\" y=\"", Number(corner.y),
                  "\" width=\"", Number(width), "\" height=\"", Number(height), "\" class=\"",
                  XmlText(css_class), "\"");
  if (opacity < 1) absl::StrAppendFormat(&text_, " fill-opacity=\"%.2f\"", opacity);
  text_ += "/>\n";
}

void Svg::Polyline(std::span<const Point> points, std::string_view css_class) {
  absl::StrAppend(&text_, "<polyline class=\"", XmlText(css_class), "\" points=\"");
  for (const Point& point : points) {
    absl::StrAppend(&text_, Number(point.x), ",", Number(point.y), " ");
  }
  text_ += "\"/>\n";
}

void Svg::Text(Point at, Anchor anchor, std::string_view css_class, std::string_view text,
               double size) {
  constexpr const char* kAnchors[] = {"start", "middle", "end"};
  absl::StrAppend(&text_, "<text x=\"", Number(at.x), "\" y=\"", Number(at.y), "\" font-size=\"",
                  Number(size), "\" text-anchor=\"", kAnchors[static_cast<size_t>(anchor)],
                  "\" class=\"", XmlText(css_class), "\">", XmlText(text), "</text>\n");
}

std::string Svg::Finish() { return absl::StrCat(text_, "</svg>\n"); }

double Svg::TextWidth(std::string_view text, double size) {
  return 0.6 * size * static_cast<double>(text.size());
}

std::vector<double> SpreadLabels(const std::vector<double>& wanted, double gap, double low,
                                 double high) {
  std::vector<size_t> order(wanted.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, [&](size_t i) { return wanted[i]; });
  std::vector<double> places(wanted);
  double least = low;
  for (const size_t i : order) {
    places[i] = std::max(wanted[i], least);
    least = places[i] + gap;
  }
  double most = high;
  for (auto i = order.rbegin(); i != order.rend(); ++i) {
    places[*i] = std::min(places[*i], most);
    most = places[*i] - gap;
  }
  return places;
}

}  // namespace cli::bench
