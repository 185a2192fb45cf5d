// FakeLimits: Limits that a test sets as it likes.

#ifndef OS_FAKE_LIMITS_H_
#define OS_FAKE_LIMITS_H_

#include <atomic>
#include <cstdint>
#include <optional>

#include "os/limits.h"

namespace os::testing {

// At first nothing is limited, and nothing privileged. Set it up before other threads use it.
class FakeLimits final : public Limits {
 public:
  ByteLimit Memlock() const override { return memlock; }
  std::optional<uint64_t> Rss() const override { return rss; }
  uint64_t LockedBytes() const override { return locked_bytes; }
  Headroom ReadHeadroom() const override {
    ++headroom_reads;
    return headroom;
  }
  bool Privileged() const override { return privileged; }

  ByteLimit memlock;
  std::optional<uint64_t> rss;
  uint64_t locked_bytes = 0;
  Headroom headroom;
  bool privileged = false;
  mutable std::atomic<uint64_t> headroom_reads{0};
};

}  // namespace os::testing

#endif  // OS_FAKE_LIMITS_H_
