#include "benchmarks/run_figures.h"

#include <cmath>

namespace benchmarks {
namespace {

// Nanoseconds of a cost for Google Benchmark's own column; it takes no other unit.
double SecondsOf(double cost, Unit unit) { return unit == Unit::kNanoseconds ? cost / 1e9 : 0; }

Row Measure(const Figure& figure, benchmark::State& state) {
  Row row;
  row.figure = figure.title;
  row.unit = figure.unit;
  row.bounds = figure.bounds;
  row.overhead = figure.overhead;
  row.skipped = ReasonToSkip(figure);
  if (!row.skipped.empty()) {
    state.SkipWithError(("skipped: " + row.skipped).c_str());
    return row;
  }
  InTurn in_turn = figure.prepare();
  std::vector<Round> rounds;
  while (state.KeepRunning()) {
    rounds.push_back(in_turn.Next());
    state.SetIterationTime(SecondsOf(rounds.back().ours, figure.unit));
  }
  row.summary = Summarize(rounds);
  for (const auto& [name, value] : CountersOf(row)) state.counters[name] = value;
  return row;
}

const char* SuffixOf(Unit unit) {
  switch (unit) {
    case Unit::kNanoseconds:
      return "_ns";
    case Unit::kCalls:
      return "_calls";
    case Unit::kPercent:
      return "_percent";
    case Unit::kFaults:
      return "_faults";
    case Unit::kBytes:
      return "_bytes";
    case Unit::kTimes:
      return "_times";
  }
  return "";
}

}  // namespace

std::map<std::string, double> CountersOf(const Row& row) {
  const std::string suffix = SuffixOf(row.unit);
  std::map<std::string, double> counters = {
      {"ours" + suffix, row.summary.ours},
      {"bare" + suffix, row.summary.bare},
      {"ours_max" + suffix, row.summary.ours_max},
      {"bare_max" + suffix, row.summary.bare_max},
      {"ratio", RatioOf(row)},
  };
  for (const Bound& bound : row.bounds) {
    counters[counters.contains("bound") ? "bound_ratio" : "bound"] = bound.value;
    if (bound.of == Bound::Of::kOursLessBare) {
      counters["less" + suffix] = row.summary.ours_less_bare;
    }
  }
  if (!row.bounds.empty()) counters["met"] = Met(row) ? 1 : 0;
  std::erase_if(counters, [](const auto& counter) { return !std::isfinite(counter.second); });
  return counters;
}

std::vector<Row> RunFigures(const std::vector<Figure>& figures, int64_t rounds,
                            benchmark::BenchmarkReporter* display) {
  std::vector<Row> rows;
  for (const Figure& figure : figures) {
    const auto run = [&rows, &figure](benchmark::State& state) {
      rows.push_back(Measure(figure, state));
    };
    benchmark::RegisterBenchmark(figure.name.c_str(), run)
        ->Iterations(figure.once ? 1 : rounds)
        ->UseManualTime();
  }
  benchmark::RunSpecifiedBenchmarks(display);
  return rows;
}

}  // namespace benchmarks
