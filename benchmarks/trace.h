// Trace: the pages that some program asked for, in order.

#ifndef BENCHMARKS_TRACE_H_
#define BENCHMARKS_TRACE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace benchmarks {

struct Trace {
  // Numbers from 0 on, in the order of their first reference: which page is meant does not matter
  // to a cache, and a file of these pages is small.
  std::vector<uint32_t> references;
  uint32_t pages = 0;  // different ones
};

// Two formats, told by the name, which .gz or .zst may follow:
//
//   NAME.lis    start count ignored ignored: the pages start ... start + count - 1 (those of the
//               paper "ARC: A Self-Tuning, Low Overhead Replacement Cache", FAST 2003)
//   NAME.trace  a page number in each line
//
// What is no such file is InvalidArgument with a message "FILE:LINE: ...", or "FILE: ...".
absl::StatusOr<Trace> ReadTrace(const std::string& path);

}  // namespace benchmarks

#endif  // BENCHMARKS_TRACE_H_
