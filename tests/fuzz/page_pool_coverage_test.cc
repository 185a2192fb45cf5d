// The corpus of the pool's fuzzer has every kind of operation, in either interface, and some of them
// meet a fault.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <vector>

#include "gtest/gtest.h"
#include "tests/model/page_pool_operation.h"
#include "tests/model/page_pool_run.h"

namespace {

TEST(PagePoolCorpus, HasEveryKindOfOperation) {
  test_model::PagePoolSurroundings surroundings;
  test_model::PoolCoverage of_pins, of_accesses;
  for (const auto& entry : std::filesystem::directory_iterator("tests/fuzz/page_pool_corpus")) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::vector<char> chars(std::istreambuf_iterator<char>(file), {});
    const std::vector<uint8_t> bytes(chars.begin(), chars.end());
    std::span<const uint8_t> rest(bytes);
    const auto setup = test_model::TakePoolSetup(rest);
    ASSERT_TRUE(setup) << entry.path();
    EXPECT_EQ(test_model::RunPagePool(surroundings, bytes, setup->accesses ? of_accesses : of_pins),
              "")
        << entry.path();
  }
  for (const auto* coverage : {&of_pins, &of_accesses}) {
    for (size_t kind = 0; kind < test_model::PoolOperation::kKinds; ++kind) {
      EXPECT_GT(coverage->operations[kind], 0u) << "kind " << kind;
    }
    EXPECT_GT(coverage->of_second_thread, 0u);
    EXPECT_GT(coverage->faults_fired, 0u);
  }
}

}  // namespace
