// Memory that is replaced while threads use it, and such threads.

#ifndef OS_LIVE_REPLACE_FIXTURE_H_
#define OS_LIVE_REPLACE_FIXTURE_H_

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "os/live_replace.h"
#include "os/memory_object.h"
#include "os/shared_mapping.h"

namespace os {

inline const auto kPage = static_cast<size_t>(sysconf(_SC_PAGESIZE));

// Waits a minute for it. False: in vain.
bool WaitUntil(const std::function<bool()>& predicate);

// Private memory, or an object's.
enum class Kind { kPrivate, kShared };
std::byte* NewMemory(Kind kind, size_t pages);
// A word in memory that threads share.
inline std::atomic_ref<uint64_t> Word(std::byte* address) {
  return std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(address));
}
// As memcpy(3), of words that threads may be changing.
void CopyWords(std::byte* to, std::byte* from, size_t bytes);

// How many pages of the range are write-protected by userfaultfd(2), as the kernel tells.
size_t ProtectedPages(const std::byte* range, size_t pages);
size_t OpenDescriptors();

// A kernel as old as 6.1: cannot protect absent private pages, and protects one mapping at a time.
// The latter has to be told where the mappings meet. For a scope.
class OlderKernel {
 public:
  OlderKernel();
  OlderKernel(const OlderKernel&) = delete;
  OlderKernel& operator=(const OlderKernel&) = delete;
  ~OlderKernel();
  static void MappingsMeetAt(const std::byte* address);
};

// A thread that does something once, as soon as it is told.
class Writer {
 public:
  explicit Writer(std::function<void()> write)
      : write_(std::move(write)), thread_([this] { Run(); }) {}
  // Relaxed, as a sanitizer's runtime holds a latch of its own during a store that is not.
  explicit Writer(std::byte* address, uint64_t value = 1)
      : Writer([=] { Word(address).store(value, std::memory_order_relaxed); }) {}
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  // Not told: it does nothing.
  ~Writer();

  // Returns when it has done it, or seems to wait.
  void Begin();
  bool IsDone() const { return done_; }
  // Waits until it is done. False: in vain.
  bool Finish() const {
    return WaitUntil([this] { return IsDone(); });
  }

 private:
  void Run();
  bool IsAsleep() const;

  const std::function<void()> write_;
  std::atomic<bool> begin_{false}, end_{false}, begun_{false}, done_{false};
  std::atomic<pid_t> number_{0};
  std::thread thread_;
};

// Each page can be written to, in its second word.
void ExpectNothingIsStopped(std::byte* range, size_t pages);

// Skips where the kernel, or what this process is allowed, does not do for write protection.
class LiveReplaceTest : public testing::Test {
 protected:
  void SetUp() override;
};

}  // namespace os

#endif  // OS_LIVE_REPLACE_FIXTURE_H_
