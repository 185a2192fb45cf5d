// The charts of the report, each as one drawing.
//
// Every chart is drawn twice, for a wide and for a narrow screen: a drawing that is only scaled has
// texts that nobody can read on one of them. Modes are told apart by their names beside what is
// drawn; colours and dashes, which the style sheet gives to the classes m-MODE, come on top. Pure.

#ifndef CLI_BENCH_CHARTS_H_
#define CLI_BENCH_CHARTS_H_

#include <string>

#include "cli/bench/result.h"

namespace cli::bench {

struct Layout {
  double width;
  const char* css_class;
};
inline constexpr Layout kWide = {1000, "wide"};
inline constexpr Layout kNarrow = {350, "narrow"};

// How long touches took at each percentile; both axes are logarithmic.
std::string PercentileChart(const BenchResult& result, const Layout& layout);
// The 99th percentile and the longest touch over time, a panel for each mode.
std::string TimeChart(const BenchResult& result, const Layout& layout);
// Major and minor faults as bars.
std::string FaultChart(const BenchResult& result, const Layout& layout);
// Which pages were present at the end.
std::string ResidencyChart(const BenchResult& result, const Layout& layout);

// TimeText with the sign for micro.
std::string MicroText(uint64_t ns);

}  // namespace cli::bench

#endif  // CLI_BENCH_CHARTS_H_
