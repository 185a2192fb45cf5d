// The table at the end of a benchmark: figure, ours, bare, ratio, bound, met.
//
// Pure: arithmetic and text. Thread-safe as far as its arguments are.

#ifndef BENCHMARKS_TABLE_H_
#define BENCHMARKS_TABLE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "benchmarks/in_turn.h"

namespace benchmarks {

enum class Unit { kNanoseconds, kCalls, kPercent, kFaults, kBytes, kTimes };

// What a figure must keep to.
struct Bound {
  enum class Of {
    kOurs,          // our cost is at most this
    kOursToBare,    // ours / bare is at most this
    kBareToOurs,    // bare / ours is at least this: so many times faster
    kOursLessBare,  // ours - bare is at most this: it is a difference that counts, not a ratio
  };
  Of of;
  double value;
};

// One line of the table.
struct Row {
  std::string figure;
  Unit unit = Unit::kNanoseconds;
  std::vector<Bound> bounds;  // all must hold
  bool overhead = false;      // ours costs more by its nature: the ratio is ours / bare
  Summary summary{};
  std::string skipped;  // why it was not measured; empty: it was
};

// The ratio as the bounds of the row count it: ours / bare where one of them does, or where the row
// is one of overhead; else bare / ours. NaN without a bare side. Where a bound counts the difference,
// the table shows that instead.
double RatioOf(const Row& row);

// Whether the row keeps to all of its bounds. What was not measured does not.
bool Met(const Row& row);

enum class Style { kText, kMarkdown };

// With a heading line, and a line feed at the end of each line. UTF-8.
std::string FormatTable(const std::vector<Row>& rows, Style style);

// "12.3 ns", "1.23 µs", "64.0 ms"; "0 calls"; "0.051 %"; "0 faults"; "64.1 bytes"; "9.50 times";
// "-" for NaN.
std::string FormatCost(double cost, Unit unit);

// "262,144".
std::string WithCommas(uint64_t number);
// "1 page", "262,144 pages".
std::string FormatPages(uint64_t pages);

}  // namespace benchmarks

#endif  // BENCHMARKS_TABLE_H_
