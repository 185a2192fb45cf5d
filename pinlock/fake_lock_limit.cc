#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <optional>

#include "os/limited_memory.h"
#include "os/limits.h"
#include "os/memory.h"
#include "pinlock/internal/process_locker.h"
#include "pinlock/testing.h"
#include "pinlock/testing_memory.h"

namespace pinlock::testing {
namespace {

using pinlock::internal::LockerState;
using pinlock::internal::PageLocker;
using pinlock::internal::ProcessLocker;
using pinlock::internal::ScopedProcessLocker;

// The Memory of the FakeLockLimit that lives. A child of fork inherits it, as it does the limit.
std::atomic<const os::Memory*> fake_memory{nullptr};

[[noreturn]] void Die(const char* why) {
  std::fprintf(stderr, "FakeLockLimit: %s\n", why);
  std::abort();
}

// The limits of a process that may lock what a LimitedMemory allows, and is otherwise free.
class FakeLimits final : public os::Limits {
 public:
  explicit FakeLimits(const os::testing::LimitedMemory& memory) : memory_(memory) {}
  os::ByteLimit Memlock() const override { return {memory_.limit_bytes(), memory_.limit_bytes()}; }
  std::optional<uint64_t> Rss() const override { return std::nullopt; }
  uint64_t LockedBytes() const override { return memory_.locked_bytes(); }
  os::Headroom ReadHeadroom() const override { return {}; }
  bool Privileged() const override { return false; }

 private:
  const os::testing::LimitedMemory& memory_;
};

// Counters that a child of fork finds wiped, as those of the process are.
class WipedState {
 public:
  WipedState() {
    os::Memory& memory = os::RealMemory();
    const os::Result<os::PageRange> pages =
        memory.Map(os::PageCount((sizeof(LockerState) - 1) / memory.page_size() + 1),
                   os::Memory::Access::kReadWrite, os::Memory::Fork::kWipe);
    if (!pages.ok()) Die("no memory");
    pages_ = *pages;
    state_ = new (pages_.address(memory.page_size())) LockerState{};
  }
  ~WipedState() { (void)os::RealMemory().Unmap(pages_); }

  LockerState& get() const { return *state_; }

 private:
  os::PageRange pages_;
  LockerState* state_;
};

uint64_t PagesLocked() {
  std::optional<PageLocker> locker = ProcessLocker();
  return locker ? locker->Stats().pages_locked : 0;
}

// Before anything is built.
uint64_t CheckedLimit(uint64_t bytes) {
  if (fake_memory.load() != nullptr) Die("there is one already");
  if (PagesLocked() > 0) Die("pages are pinned; unpin them first");
  return bytes;
}

}  // namespace

struct FakeLockLimit::State {
  explicit State(uint64_t bytes)
      : memory(os::RealMemory(), CheckedLimit(bytes)),
        limits(memory),
        scoped(counters.get(), memory, limits) {}

  os::testing::LimitedMemory memory;
  FakeLimits limits;
  WipedState counters;
  ScopedProcessLocker scoped;
};

FakeLockLimit::FakeLockLimit(size_t bytes) : state_(std::make_unique<State>(bytes)) {
  fake_memory = &state_->memory;
}

FakeLockLimit::~FakeLockLimit() {
  if (const uint64_t pages = PagesLocked(); pages > 0) {
    ADD_FAILURE() << pages << " pages are still pinned at the end of a FakeLockLimit; unpin them "
                  << "first: they are no longer pinned";
  }
  fake_memory = nullptr;
}

void FakeLockLimit::Set(size_t bytes) { state_->memory.SetLimit(bytes); }

size_t FakeLockLimit::locked_bytes() const {
  return static_cast<size_t>(state_->memory.locked_bytes());
}

const os::Memory& internal::LockingMemory() {
  const os::Memory* memory = fake_memory;
  return memory != nullptr ? *memory : os::RealMemory();
}

}  // namespace pinlock::testing
