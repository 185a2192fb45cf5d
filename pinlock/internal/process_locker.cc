#include "pinlock/internal/process_locker.h"

#include <atomic>
#include <new>

namespace pinlock::internal {
namespace {

// In wiped memory: all zero in a new process.
struct ProcessState {
  std::atomic<uint64_t> generation;
  LockerState locker;
};

// These two are ordinary memory, which a child inherits.
std::atomic<ProcessState*> process_state{nullptr};
std::atomic<uint64_t> generations{0};

ProcessState* CreateState() {
  os::Memory& memory = os::RealMemory();
  const size_t page_size = memory.page_size();
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

}  // namespace

std::optional<PageLocker> ProcessLocker() {
  ProcessState* state = process_state.load(std::memory_order_acquire);
  if (state == nullptr) state = CreateState();
  if (state == nullptr) return std::nullopt;
  if (state->generation.load(std::memory_order_acquire) == 0) {
    uint64_t unset = 0;
    state->generation.compare_exchange_strong(unset, generations.fetch_add(1) + 1);
  }
  return PageLocker(state->locker, os::RealMemory());
}

uint64_t ProcessGeneration() {
  const ProcessState* state = process_state.load(std::memory_order_acquire);
  return state == nullptr ? 0 : state->generation.load(std::memory_order_acquire);
}

}  // namespace pinlock::internal
