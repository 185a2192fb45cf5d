// The pool against the reference model: random lists of operations, and all short ones.

#include "tests/model/page_pool_model.h"

#include <array>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/model/page_pool_operation.h"
#include "tests/model/page_pool_run.h"
#include "tests/support/sanitizer.h"
#include "tests/support/seed.h"

namespace test_model {
namespace {

using mpool::internal::PageNumber;
using Kind = PoolOperation::Kind;

TEST(PagePoolModel, AgreesOnRandomLists) {
  const bool slow = test_support::kAddressSanitizer || test_support::kThreadSanitizer;
  const int lists = slow ? 500 : 2000;
  std::mt19937_64 random(test_support::TestSeed());
  PagePoolSurroundings surroundings;
  PoolCoverage coverage;
  for (int list = 0; list < lists; ++list) {
    std::vector<uint8_t> bytes(kPoolSetupBytes + kPoolOperationBytes * (20 + random() % 100));
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    ASSERT_EQ(RunPagePool(surroundings, bytes, coverage), "") << "list " << list;
  }
  for (size_t kind = 0; kind < PoolOperation::kKinds; ++kind) {
    EXPECT_GT(coverage.operations[kind], 0u) << "kind " << kind;
  }
  EXPECT_GT(coverage.of_second_thread, 0u);
  EXPECT_GT(coverage.faults_fired, 0u);
}

// Eleven operations on three pages, of which the file has two.
PoolOperation ShortOperation(size_t index, const PagePoolModel& model, uint8_t value) {
  const auto page = static_cast<PageNumber>(index % 3);
  if (index < 3) return {model.pins(page) == 0 ? Kind::kPin : Kind::kUnpin, page, 0};
  if (index < 6) return {Kind::kChange, page, value};
  if (index < 9) return {Kind::kDelete, page, 0};
  return index == 9 ? PoolOperation{Kind::kNext, 0, value} : PoolOperation{Kind::kSync, 0, 0};
}
constexpr size_t kShortOperations = 11;
constexpr size_t kShortLength = test_support::kThreadSanitizer ? 4 : 5;

// Pages 0 and 1 are alike: of two lists that differ by their exchange, the one that uses 0 first.
bool IsFirstOfItsKind(size_t list) {
  for (size_t step = 0; step < kShortLength; ++step, list /= kShortOperations) {
    const size_t index = list % kShortOperations;
    if (index < 9 && index % 3 == 1) return false;
    if (index < 9 && index % 3 == 0) return true;
  }
  return true;
}

void RunShort(PagePoolSurroundings& surroundings, uint64_t pages_max, size_t list) {
  PoolSetup setup;
  setup.config.page_size = 16;
  setup.config.pages_max = pages_max;
  setup.values = {101, 102};
  PagePoolRun subject(surroundings, setup);
  std::string done;
  size_t rest = list;
  for (size_t step = 0; step < kShortLength; ++step, rest /= kShortOperations) {
    const PoolOperation operation = ShortOperation(rest % kShortOperations, subject.model(),
                                                   static_cast<uint8_t>(200 + 4 * step));
    const std::string error = subject.Apply(operation);
    if (!error.empty()) done += ToString(operation) + ", ";
    ASSERT_EQ(error, "") << "list " << list << ", " << pages_max << " frames, step " << step << ": "
                         << done;
  }
  ASSERT_EQ(subject.Close(list % 2 == 0), "") << "list " << list << ", " << pages_max << " frames";
}

TEST(PagePoolExhaustive, AgreesOnEveryShortList) {
  size_t lists = 1;
  for (size_t i = 0; i < kShortLength; ++i) lists *= kShortOperations;
  PagePoolSurroundings surroundings;
  for (const uint64_t pages_max : {1u, 2u}) {
    for (size_t list = 0; list < lists && !testing::Test::HasFatalFailure(); ++list) {
      if (IsFirstOfItsKind(list)) RunShort(surroundings, pages_max, list);
    }
  }
}

}  // namespace
}  // namespace test_model
