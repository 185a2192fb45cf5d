#include "benchmarks/must.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace benchmarks {

void Fail(const char* what, const char* why) {
  std::fprintf(stderr, "benchmark: %s: %s\n", what, why);
  std::exit(1);
}

void Must(bool succeeded, const char* call) {
  if (!succeeded) Fail(call, std::strerror(errno));
}

void Must(const absl::Status& status) {
  if (!status.ok()) Fail("mpool", std::string(status.message()).c_str());
}

}  // namespace benchmarks
