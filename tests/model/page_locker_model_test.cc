#include <random>
#include <span>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/model/page_locker_operation.h"
#include "tests/model/page_locker_run.h"
#include "tests/support/sanitizer.h"
#include "tests/support/seed.h"

namespace test_model {
namespace {

TEST(PageLockerModel, APageLockerDoesWhatTheModelDoes) {
  const bool slow = test_support::kAddressSanitizer || test_support::kThreadSanitizer;
  const int runs = slow ? 16 : 60;
  constexpr size_t kBytesPerRun = 120 * kLockerOperationBytes;
  std::mt19937_64 random(test_support::TestSeed());
  for (int run = 0; run < runs; ++run) {
    std::vector<uint8_t> bytes(kBytesPerRun);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    // Half of the runs stay at one place, where the operations meet.
    for (size_t i = 1; run % 2 == 0 && i < bytes.size(); i += kLockerOperationBytes) {
      bytes[i] = static_cast<uint8_t>(run / 2);
    }
    ASSERT_EQ(RunPageLocker(bytes), "") << "run " << run;
  }
}

TEST(PageLockerModel, TheDecoderStaysInTheUniverseAndEndsWithTheBytes) {
  int operations = 0;
  for (unsigned place = 0; place < 5; ++place) {
    for (unsigned offset = 0; offset < 256; ++offset) {
      for (unsigned length = 0; length < 256; ++length) {
        const std::vector<uint8_t> bytes = {0,
                                            static_cast<uint8_t>(place),
                                            static_cast<uint8_t>(offset),
                                            static_cast<uint8_t>(length),
                                            0,
                                            0};
        std::span<const uint8_t> rest(bytes);
        while (const auto operation = TakeLockerOperation(rest)) {
          ASSERT_LE(operation->range.begin(), operation->range.end());
          ASSERT_EQ(operation->range.Intersection(kUniverse).count(), operation->range.count());
          ++operations;
        }
      }
    }
  }
  EXPECT_EQ(operations, 5 * 256 * 256);
}

}  // namespace
}  // namespace test_model
