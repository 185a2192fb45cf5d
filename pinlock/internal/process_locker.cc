#include "pinlock/internal/process_locker.h"

#include <atomic>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "pinlock/internal/inside.h"

namespace pinlock::internal {
namespace {

// In wiped memory: all zero in a new process.
struct ProcessState {
  std::atomic<uint64_t> generation;
  LockerState locker;
};

// These are ordinary memory, which a child inherits.
std::atomic<ProcessState*> process_state{nullptr};
std::atomic<uint64_t> generations{0};
std::atomic<uint64_t> max_pages{0};
std::atomic<int> page_shift{0};  // set before process_state is
std::atomic<const ScopedProcessLocker*> substitute{nullptr};

ProcessState* CreateState() {
  os::Memory& memory = os::RealMemory();
  const size_t page_size = memory.page_size();
  page_shift.store(std::countr_zero(page_size), std::memory_order_relaxed);
  const os::PageCount pages((sizeof(ProcessState) + page_size - 1) / page_size);
  const os::Result<os::PageRange> range =
      memory.Map(pages, os::Memory::Access::kReadWrite, os::Memory::Fork::kWipe);
  if (!range.ok()) return nullptr;
  auto* created = new (range->address(page_size)) ProcessState{};
  ProcessState* expected = nullptr;
  if (process_state.compare_exchange_strong(expected, created)) return created;
  (void)memory.Unmap(*range);  // another thread was first
  return expected;
}

bool VerifyIsAskedFor() {
  const char* value = secure_getenv("PINLOCK_VERIFY");
  return value != nullptr && std::strcmp(value, "") != 0 && std::strcmp(value, "0") != 0;
}

PageLocker LockerOf(ProcessState& state) {
  return PageLocker(state.locker, os::RealMemory(), os::RealLimits());
}

// What the process begins with: the settings, which are not counts. Where another thread is at it,
// that one may be a moment late with them.
void BeginUse(ProcessState& state) {
  uint64_t unset = 0;
  const uint64_t mine = generations.fetch_add(1) + 1;
  if (!state.generation.compare_exchange_strong(unset, mine)) return;
  PageLocker locker = LockerOf(state);
  locker.SetMaxPages(max_pages);
  if (VerifyIsAskedFor()) locker.SetVerify(true);
}

// The pages of a range by the short way; empty where it is not plain.
os::PageRange PagesOf(uintptr_t address, size_t bytes) {
  if (bytes == 0 || bytes - 1 > ~uintptr_t{0} - address) return {};
  const int shift = page_shift.load(std::memory_order_relaxed);
  return os::PageRange(os::PageNumber(address >> shift),
                       os::PageNumber(((address + (bytes - 1)) >> shift) + 1));
}

// The process' own, or what a test has put in its place.
PageLocker LockerInPlaceOf(ProcessState& state) {
  const ScopedProcessLocker* scoped = substitute.load(std::memory_order_acquire);
  return scoped == nullptr ? LockerOf(state) : scoped->locker();
}

[[noreturn]] void Die(const char* why) {
  std::fprintf(stderr, "ScopedProcessLocker: %s\n", why);
  std::abort();
}

}  // namespace

std::optional<PageLocker> ProcessLocker() {
  ProcessState* state = process_state.load(std::memory_order_acquire);
  if (state == nullptr) state = CreateState();
  if (state == nullptr) return std::nullopt;
  if (state->generation.load(std::memory_order_acquire) == 0) BeginUse(*state);
  return LockerInPlaceOf(*state);
}

std::optional<PageLocker> ProcessLockerInUse() {
  ProcessState* state = process_state.load(std::memory_order_acquire);
  if (state == nullptr || state->generation.load(std::memory_order_acquire) == 0 || IsInside()) {
    return std::nullopt;
  }
  return LockerInPlaceOf(*state);
}

bool TryNestedPin(uintptr_t address, size_t bytes) {
  ProcessState* state = process_state.load(std::memory_order_acquire);
  if (state == nullptr) return false;
  const ScopedInside inside;
  return state->locker.shared_table().TryNestedPin(PagesOf(address, bytes), state->locker.gate);
}

bool TryNestedUnpin(uintptr_t address, size_t bytes) {
  ProcessState* state = process_state.load(std::memory_order_acquire);
  if (state == nullptr) return false;
  const ScopedInside inside;
  return state->locker.shared_table().TryNestedUnpin(PagesOf(address, bytes), state->locker.gate);
}

bool SetProcessMaxPages(uint64_t pages) {
  std::optional<PageLocker> locker = ProcessLocker();
  if (!locker) return false;
  max_pages.store(pages);
  locker->SetMaxPages(max_pages);
  return true;
}

uint64_t ProcessGeneration() {
  const ProcessState* state = process_state.load(std::memory_order_acquire);
  return state == nullptr ? 0 : state->generation.load(std::memory_order_acquire);
}

ScopedProcessLocker::ScopedProcessLocker(LockerState& state, os::Memory& memory,
                                         const os::Limits& limits)
    : state_(state), memory_(memory), limits_(limits) {
  if (substitute.load() != nullptr) Die("there is another one");
  std::optional<PageLocker> locker = ProcessLocker();
  if (!locker) Die("no memory");
  if (locker->Stats().pages_locked > 0) Die("pages are locked; unlock them first");
  substitute.store(this, std::memory_order_release);
}

ScopedProcessLocker::~ScopedProcessLocker() { substitute.store(nullptr); }

}  // namespace pinlock::internal
