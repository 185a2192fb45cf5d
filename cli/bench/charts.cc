#include "cli/bench/charts.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "cli/bench/scales.h"
#include "cli/bench/svg.h"
#include "cli/bench/time_text.h"

namespace cli::bench {
namespace {

constexpr double kLeft = 58;       // for the texts of a vertical axis
constexpr double kNameWidth = 52;  // of the longest name of a mode

std::string Micro(std::string text) { return absl::StrReplaceAll(text, {{" us", " \u00b5s"}}); }
std::string Name(Mode mode) { return std::string(ModeName(mode)); }
std::string Class(const char* what, Mode mode) { return absl::StrCat(what, " m-", Name(mode)); }

// The rectangle that values are drawn in.
struct Plot {
  double left, right, top, bottom;
};

void DrawTimeAxis(Svg& svg, const Plot& plot, const LogScale& scale, int labels_every) {
  int number = 0;
  for (const LogScale::Tick& tick : scale.Ticks()) {
    svg.Line({plot.left, tick.place}, {plot.right, tick.place}, "grid");
    if (number++ % labels_every != 0) continue;
    svg.Text({plot.left - 6, tick.place + 4}, Anchor::kEnd, "tick", Micro(tick.text));
  }
}

// The least and the greatest of all latencies that are drawn.
LogScale ScaleOf(const BenchResult& result, const Plot& plot) {
  uint64_t least = ~uint64_t{0};
  uint64_t most = 1;
  for (const ModeResult& mode : result.modes) {
    if (mode.latency.count() == 0) continue;
    least = std::min(least, mode.latency.Percentile(0));
    most = std::max(most, mode.latency.max());
  }
  return LogScale(std::min(least, most), most, plot.bottom, plot.top);
}

std::string PercentileLabel(const BenchResult& result) {
  std::string label = "Latency of a touch by percentile.";
  for (const ModeResult& mode : result.modes) {
    absl::StrAppend(&label, " ", Name(mode.mode), ": half within ",
                    Micro(TimeText(mode.latency.Percentile(0.5))), ", 99 percent within ",
                    Micro(TimeText(mode.latency.Percentile(0.99))), ", 99.9 percent within ",
                    Micro(TimeText(mode.latency.Percentile(0.999))), ", the longest ",
                    Micro(TimeText(mode.latency.max())), ".");
  }
  return label;
}

// 90 % is 1 decade from the left, 99 % is 2: as many as the touches tell of.
double DecadesOf(const BenchResult& result) {
  double most = 2;
  for (const ModeResult& mode : result.modes) {
    const auto count = static_cast<double>(std::max<uint64_t>(mode.latency.count(), 1));
    most = std::max(most, std::min(std::log10(count), 5.0));
  }
  return most;
}

std::vector<Point> PercentileCurve(const ModeResult& mode, const Plot& plot, double decades,
                                   const LogScale& scale) {
  constexpr double kStep = 3;
  std::vector<Point> curve;
  const double last = std::log10(static_cast<double>(std::max<uint64_t>(mode.latency.count(), 1)));
  const double per_decade = (plot.right - plot.left) / decades;
  const double end = std::min(last, decades);
  for (double at = 0; at < end; at += kStep / per_decade) {
    const uint64_t ns = mode.latency.Percentile(1 - std::pow(10, -at));
    curve.push_back({plot.left + at * per_decade, scale.Place(ns)});
  }
  const uint64_t last_ns =
      last <= decades ? mode.latency.max() : mode.latency.Percentile(1 - std::pow(10, -decades));
  curve.push_back({plot.left + end * per_decade, scale.Place(last_ns)});
  return curve;
}

void DrawPercentAxis(Svg& svg, const Plot& plot, double decades) {
  constexpr const char* kTexts[] = {"0", "90", "99", "99.9", "99.99", "99.999"};
  const double per_decade = (plot.right - plot.left) / decades;
  for (int decade = 0; decade <= static_cast<int>(decades + 1e-9); ++decade) {
    const double x = plot.left + decade * per_decade;
    svg.Line({x, plot.top}, {x, plot.bottom}, "grid");
    svg.Text({x, plot.bottom + 17}, Anchor::kMiddle, "tick", kTexts[decade]);
  }
  svg.Text({(plot.left + plot.right) / 2, plot.bottom + 36}, Anchor::kMiddle, "axis",
           "percent of the touches that took no longer");
}

// What a column of the time chart shows.
struct TimeColumn {
  bool any = false;
  uint64_t p99_ns = 0, max_ns = 0;
};

std::vector<TimeColumn> ColumnsOf(const ModeResult& mode, uint64_t duration_ns, size_t count) {
  std::vector<TimeColumn> columns(count);
  for (const Slice& slice : mode.slices) {
    const double share =
        static_cast<double>(slice.at_ns) / static_cast<double>(std::max<uint64_t>(duration_ns, 1));
    TimeColumn& column =
        columns[std::min(static_cast<size_t>(share * static_cast<double>(count)), count - 1)];
    column.any = true;
    column.p99_ns = std::max(column.p99_ns, slice.p99_ns);
    column.max_ns = std::max(column.max_ns, slice.max_ns);
  }
  return columns;
}

void DrawTimePanel(Svg& svg, const Plot& plot, const BenchResult& result, const ModeResult& mode) {
  constexpr double kColumn = 4;
  const LogScale scale = ScaleOf(result, plot);
  DrawTimeAxis(svg, plot, scale, 2);
  const auto count = static_cast<size_t>((plot.right - plot.left) / kColumn);
  const std::vector<TimeColumn> columns = ColumnsOf(mode, result.duration_ns, count);
  for (size_t i = 0; i < count; ++i) {
    if (!columns[i].any) continue;
    const double x = plot.left + static_cast<double>(i) * kColumn;
    const double top = scale.Place(columns[i].max_ns);
    const double p99 = scale.Place(columns[i].p99_ns);
    svg.Rect({x, top}, kColumn - 1, std::max(p99 - top, 1.0), Class("fill", mode.mode), 0.4);
    svg.Rect({x, p99 - 1}, kColumn - 1, 2.5, Class("fill", mode.mode));
  }
  svg.Text({plot.left, plot.top - 7}, Anchor::kStart, Class("name", mode.mode), Name(mode.mode));
}

void DrawSeconds(Svg& svg, const Plot& plot, uint64_t duration_ns) {
  const double seconds = static_cast<double>(duration_ns) / 1e9;
  const double step = NiceStep(seconds, plot.right - plot.left > 500 ? 10 : 5);
  for (int i = 0; i * step <= seconds * (1 + 1e-9); ++i) {
    const double at = i * step;
    const double x = plot.left + (plot.right - plot.left) * at / std::max(seconds, 1e-9);
    svg.Text({x, plot.bottom + 17}, Anchor::kMiddle, "tick", absl::StrFormat("%g s", at));
  }
}

std::string FaultLabel(const BenchResult& result) {
  std::string label = "Page faults while touching.";
  for (const ModeResult& mode : result.modes) {
    absl::StrAppend(&label, " ", Name(mode.mode), ": ", CountText(mode.faults.major), " major, ",
                    CountText(mode.faults.minor), " minor.");
  }
  return label;
}

constexpr double kBarPitch = 30;

void DrawFaultBars(Svg& svg, const Plot& plot, const BenchResult& result, const char* title,
                   uint64_t os::FaultCount::*kind, const char* bar_class) {
  svg.Text({plot.left, plot.top + 12}, Anchor::kStart, "axis", title);
  uint64_t most = 1;
  double number_width = 0;
  for (const ModeResult& mode : result.modes) {
    most = std::max(most, mode.faults.*kind);
    number_width = std::max(number_width, Svg::TextWidth(CountText(mode.faults.*kind), 13));
  }
  const double left = plot.left + kNameWidth;
  const double room = plot.right - left - number_width - 8;
  double y = plot.top + 24;
  svg.Line({left, y - 3}, {left, y + kBarPitch * static_cast<double>(result.modes.size()) - 6},
           "grid");
  for (const ModeResult& mode : result.modes) {
    const uint64_t count = mode.faults.*kind;
    const double width = room * static_cast<double>(count) / static_cast<double>(most);
    svg.Text({left - 8, y + 15}, Anchor::kEnd, Class("name", mode.mode), Name(mode.mode));
    // One of many can be seen, none of them cannot.
    if (count > 0) {
      svg.Rect({left, y}, std::max(width, 1.5), kBarPitch - 9, Class(bar_class, mode.mode));
    }
    svg.Text({left + width + 6, y + 15}, Anchor::kStart, "value", CountText(count), 13);
    y += kBarPitch;
  }
}

double PresentShare(const BenchResult& result, const ModeResult& mode) {
  if (result.pages == 0) return 0;
  return std::min(1.0, static_cast<double>(mode.present_pages) / static_cast<double>(result.pages));
}

// "100 %" for all of them and nothing less.
std::string ShareText(double share) {
  return absl::StrFormat("%.0f %%", std::floor(share * 100 + 1e-9));
}

std::string ResidencyLabel(const BenchResult& result) {
  std::string label = "Pages present at the end, in the order of the file.";
  for (const ModeResult& mode : result.modes) {
    absl::StrAppend(&label, " ", Name(mode.mode), ": ", ShareText(PresentShare(result, mode)), ".");
  }
  return label;
}

}  // namespace

std::string MicroText(uint64_t ns) { return Micro(TimeText(ns)); }

std::string PercentileChart(const BenchResult& result, const Layout& layout) {
  const double height = layout.width > 500 ? 420 : 340;
  Svg svg(layout.width, height, layout.css_class, PercentileLabel(result));
  const Plot plot = {kLeft, layout.width - kNameWidth - 6, 12, height - 46};
  const LogScale scale = ScaleOf(result, plot);
  const double decades = DecadesOf(result);
  DrawTimeAxis(svg, plot, scale, 1);
  DrawPercentAxis(svg, plot, decades);
  std::vector<Point> ends;
  std::vector<double> wanted;
  for (const ModeResult& mode : result.modes) {
    const std::vector<Point> curve = PercentileCurve(mode, plot, decades, scale);
    svg.Polyline(curve, Class("line", mode.mode));
    ends.push_back(curve.back());
    wanted.push_back(curve.back().y + 4);
  }
  const std::vector<double> places = SpreadLabels(wanted, 15, plot.top + 6, plot.bottom);
  for (size_t i = 0; i < result.modes.size(); ++i) {
    const Mode mode = result.modes[i].mode;
    svg.Text({ends[i].x + 6, places[i]}, Anchor::kStart, Class("name", mode), Name(mode));
  }
  return svg.Finish();
}

std::string TimeChart(const BenchResult& result, const Layout& layout) {
  const double panel = layout.width > 500 ? 122 : 96;
  const double height = panel * static_cast<double>(result.modes.size()) + 30;
  std::string label = "The 99th percentile and the longest touch over time.";
  for (const ModeResult& mode : result.modes) {
    absl::StrAppend(&label, " ", Name(mode.mode), ": the longest ", MicroText(mode.latency.max()),
                    ".");
  }
  Svg svg(layout.width, height, layout.css_class, label);
  Plot plot = {kLeft, layout.width - 18, 24, panel};
  for (const ModeResult& mode : result.modes) {
    DrawTimePanel(svg, plot, result, mode);
    plot.top += panel;
    plot.bottom += panel;
  }
  plot.bottom -= panel;
  DrawSeconds(svg, plot, result.duration_ns);
  return svg.Finish();
}

std::string FaultChart(const BenchResult& result, const Layout& layout) {
  const bool side_by_side = layout.width > 500;
  const double group = 32 + kBarPitch * static_cast<double>(result.modes.size());
  Svg svg(layout.width, side_by_side ? group : 2 * group, layout.css_class, FaultLabel(result));
  const double width = side_by_side ? layout.width / 2 - 16 : layout.width;
  const Plot first = {0, width, 0, group};
  const Plot second =
      side_by_side ? Plot{width + 32, layout.width, 0, group} : Plot{0, width, group, 2 * group};
  DrawFaultBars(svg, first, result, "Major faults: the page had to be read", &os::FaultCount::major,
                "fill");
  DrawFaultBars(svg, second, result, "Minor faults: it was in memory", &os::FaultCount::minor,
                "fill soft");
  return svg.Finish();
}

std::string ResidencyChart(const BenchResult& result, const Layout& layout) {
  constexpr double kStrip = 34;
  constexpr double kNumberWidth = 48;
  const double height = kStrip * static_cast<double>(result.modes.size()) + 20;
  Svg svg(layout.width, height, layout.css_class, ResidencyLabel(result));
  const double left = kNameWidth;
  const double width = layout.width - left - kNumberWidth;
  double y = 2;
  for (const ModeResult& mode : result.modes) {
    svg.Text({left - 8, y + 17}, Anchor::kEnd, Class("name", mode.mode), Name(mode.mode));
    svg.Rect({left, y}, width, kStrip - 10, "frame");
    const double cell = width / static_cast<double>(std::max<size_t>(mode.residency.size(), 1));
    for (size_t i = 0; i < mode.residency.size();) {
      // What is alike in a row is one rectangle: no seams.
      size_t end = i + 1;
      while (end < mode.residency.size() && mode.residency[end] == mode.residency[i]) ++end;
      if (mode.residency[i] > 0) {
        svg.Rect({left + static_cast<double>(i) * cell, y}, static_cast<double>(end - i) * cell,
                 kStrip - 10, Class("fill", mode.mode), mode.residency[i]);
      }
      i = end;
    }
    const std::string text = mode.residency.empty() ? "?" : ShareText(PresentShare(result, mode));
    svg.Text({layout.width, y + 17}, Anchor::kEnd, "value", text, 13);
    y += kStrip;
  }
  svg.Text({left, y + 10}, Anchor::kStart, "tick", "first page");
  svg.Text({left + width, y + 10}, Anchor::kEnd, "tick", "last page");
  return svg.Finish();
}

}  // namespace cli::bench
