// What pinlock/testing.h is made of. Not to be used otherwise.

#ifndef PINLOCK_TESTING_INTERNAL_H_
#define PINLOCK_TESTING_INTERNAL_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <ostream>
#include <string>

namespace os {
class Memory;
class SyscallCounter;
}  // namespace os

namespace pinlock::testing::internal {

// A polymorphic matcher: `check` on the bytes of anything with std::data() and std::size().
class RangeMatcher {
 public:
  using Check = ::testing::AssertionResult (*)(const void* data, size_t bytes);
  RangeMatcher(Check check, const char* adjective) : check_(check), adjective_(adjective) {}

  template <typename Range>
  bool MatchAndExplain(const Range& range, ::testing::MatchResultListener* listener) const {
    const volatile void* data = std::data(range);
    const ::testing::AssertionResult result =
        check_(const_cast<const void*>(data), std::size(range) * sizeof(*std::data(range)));
    *listener << result.message();
    return result;
  }
  void DescribeTo(std::ostream* out) const { *out << "is " << adjective_; }
  void DescribeNegationTo(std::ostream* out) const { *out << "is not all " << adjective_; }

 private:
  Check check_;
  const char* adjective_;
};

// IsResident and IsLocked on any memory.
::testing::AssertionResult CheckResident(const os::Memory& memory, const void* data, size_t bytes);
::testing::AssertionResult CheckLocked(const os::Memory& memory, const void* data, size_t bytes);

// Begin() and End() enclose the statement. Where one is false, message() says why.
class NoPageFaults {
 public:
  // `statement` is its text, and stays.
  explicit NoPageFaults(const char* statement) : statement_(statement) {}
  bool Begin();
  bool End();
  std::string message() const;

 private:
  const char* statement_;
  uint64_t minor_ = 0;
  uint64_t major_ = 0;
};

class NoSyscalls {
 public:
  explicit NoSyscalls(const char* statement);
  ~NoSyscalls();
  bool Begin();
  bool End();
  const std::string& message() const { return message_; }

 private:
  const char* statement_;
  std::unique_ptr<os::SyscallCounter> counter_;
  std::string message_;
};

// Keeps the compiler from knowing that a statement that returns is not the last one.
inline bool AlwaysTrue() {
  static volatile bool always = true;
  return always;
}

}  // namespace pinlock::testing::internal

#define PINLOCK_INTERNAL_CONCAT_(a, b) a##b
#define PINLOCK_INTERNAL_CONCAT(a, b) PINLOCK_INTERNAL_CONCAT_(a, b)

// One statement, to which a message can be appended with <<. The switch keeps an `else` of the
// caller's from binding to the `if` in here.
#define PINLOCK_INTERNAL_EXPECT_NO(Watch, name, fail, text, ...)        \
  switch (0)                                                            \
  case 0:                                                               \
  default:                                                              \
    if (::pinlock::testing::internal::Watch name(text); name.Begin()) { \
      if (::pinlock::testing::internal::AlwaysTrue()) {                 \
        __VA_ARGS__;                                                    \
      }                                                                 \
      if (!name.End()) goto PINLOCK_INTERNAL_CONCAT(name, __LINE__);    \
    } else                                                              \
      PINLOCK_INTERNAL_CONCAT(name, __LINE__) : fail << name.message()

#endif  // PINLOCK_TESTING_INTERNAL_H_
