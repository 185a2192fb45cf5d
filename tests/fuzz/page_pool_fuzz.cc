// A fuzzer of PoolCore: the bytes are a pool and operations (page_pool_operation.h). Where the pool and
// its model differ, it prints the operations in words and aborts.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>

#include "tests/model/page_pool_run.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static test_model::PagePoolSurroundings surroundings;
  test_model::PoolCoverage coverage;
  const std::string difference =
      test_model::RunPagePool(surroundings, std::span(data, size), coverage);
  if (difference.empty()) return 0;
  std::fprintf(stderr, "%s\n", difference.c_str());
  std::abort();
}
