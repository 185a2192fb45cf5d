// CountingLocker: how a pool under test locks memory, seen and refused at will.

#ifndef TESTS_SUPPORT_COUNTING_LOCKER_H_
#define TESTS_SUPPORT_COUNTING_LOCKER_H_

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "mpool/internal/locker.h"

namespace test_support {

// Grants every lock up to a limit, and passes it on to another Locker, if one is given. Fails the
// test where something is unlocked that is not locked, or at its end is still locked. Not
// thread-safe.
class CountingLocker final : public mpool::internal::Locker {
 public:
  explicit CountingLocker(mpool::internal::Locker* next = nullptr) : next_(next) {}
  ~CountingLocker() override { EXPECT_TRUE(live_.empty()) << live_.size() << " locks are left"; }

  os::Errno Lock(std::span<std::byte> bytes) override {
    if (bytes.size() > bytes_max_ - bytes_) return os::Errno(ENOMEM);
    if (next_ != nullptr) {
      if (const os::Errno error = next_->Lock(bytes); !error.ok()) return error;
    }
    bytes_ += bytes.size();
    ++live_[{bytes.data(), bytes.size()}];
    locked_.push_back(bytes.size());
    return os::kSuccess;
  }
  os::Errno Unlock(std::span<std::byte> bytes) override {
    const auto found = live_.find({bytes.data(), bytes.size()});
    if (found == live_.end()) {
      ADD_FAILURE() << bytes.size() << " bytes are unlocked that were not locked, or not as one";
      return os::Errno(EINVAL);
    }
    if (--found->second == 0) live_.erase(found);
    bytes_ -= bytes.size();
    return next_ == nullptr ? os::kSuccess : next_->Unlock(bytes);
  }
  const char* ErrorText() const override { return "the test allows no more"; }

  // Bytes that may be locked at once, as they are asked for, from now on.
  void set_bytes_max(size_t bytes) { bytes_max_ = bytes; }
  // Bytes locked now, and the sizes of all locks so far.
  size_t bytes() const { return bytes_; }
  const std::vector<size_t>& locked() const { return locked_; }

 private:
  mpool::internal::Locker* const next_;
  size_t bytes_max_ = std::numeric_limits<size_t>::max();
  size_t bytes_ = 0;
  std::vector<size_t> locked_;
  std::map<std::pair<const std::byte*, size_t>, int> live_;
};

}  // namespace test_support

#endif  // TESTS_SUPPORT_COUNTING_LOCKER_H_
