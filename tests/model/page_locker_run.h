// RunPageLocker: a PageLocker and its model, doing the same.

#ifndef TESTS_MODEL_PAGE_LOCKER_RUN_H_
#define TESTS_MODEL_PAGE_LOCKER_RUN_H_

#include <cstdint>
#include <span>
#include <string>

namespace test_model {

// Runs the operations in `bytes` on a PageLocker over FakeMemory and on the model, and compares the
// answers, the counts of all pages and the kernel's locks after each. Returns all operations up to
// the first difference in words, and that; empty where there is none.
std::string RunPageLocker(std::span<const uint8_t> bytes);

}  // namespace test_model

#endif  // TESTS_MODEL_PAGE_LOCKER_RUN_H_
