#include "tests/model/lock_table_model.h"

#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/seed.h"
#include "tests/support/test_blocks.h"

namespace test_model {
namespace {

TEST(LockTableModel, ALockTableDoesWhatAMapDoes) {
  constexpr int kRuns = 16;
  constexpr size_t kBytesPerRun = 400;  // 80 operations
  std::mt19937_64 random(test_support::TestSeed());
  std::uniform_int_distribution<unsigned> byte(0, 255);
  for (int run = 0; run < kRuns; ++run) {
    std::vector<uint8_t> bytes(kBytesPerRun);
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(byte(random));
    // Half of the runs stay at one place, where the operations meet.
    for (size_t i = 1; run % 2 == 0 && i < bytes.size(); i += 5)
      bytes[i] = static_cast<uint8_t>(run);
    test_support::TestBlocks blocks;
    ASSERT_EQ(RunLockTable(bytes, blocks), "") << "run " << run;
  }
}

TEST(LockTableModel, TheDecoderEndsWithTheBytes) {
  const std::vector<uint8_t> bytes(12, 0xff);
  std::span<const uint8_t> rest(bytes);
  int operations = 0;
  while (const auto operation = TakeOperation(rest)) {
    EXPECT_TRUE(LockTable::Covers(operation->range));
    ++operations;
  }
  EXPECT_EQ(operations, 2);
}

}  // namespace
}  // namespace test_model
