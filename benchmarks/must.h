// A benchmark is worth nothing where a call fails, so that ends the program with status 1.

#ifndef BENCHMARKS_MUST_H_
#define BENCHMARKS_MUST_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace benchmarks {

// Ends the program with a line that names what failed.
[[noreturn]] void Fail(const char* what, const char* why);

// Where a call of the C library has not succeeded: with the text of errno.
void Must(bool succeeded, const char* call);
void Must(const absl::Status& status);

template <typename T>
T Must(absl::StatusOr<T> result) {
  Must(result.status());
  return *std::move(result);
}

}  // namespace benchmarks

#endif  // BENCHMARKS_MUST_H_
