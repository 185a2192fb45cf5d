#include "rsm/internal/use_lines.h"

#include <new>

#include "os/process_barrier.h"

namespace rsm::internal {

constinit std::atomic<UseLine*> UseLine::first_ = nullptr;

// Gives the line back when the thread ends. What ends after it gets none.
class UseLineOwner {
 public:
  ~UseLineOwner() {
    has_ended = true;
    UseLine* const line = UseLine::own_;
    UseLine::own_ = nullptr;
    if (line != nullptr && line->owner_.load(std::memory_order_relaxed) == ProcessGeneration()) {
      line->owner_.store(0, std::memory_order_release);
    }
  }
  void Arm() {}

  static inline thread_local constinit bool has_ended = false;
};

namespace {
thread_local UseLineOwner line_owner;
}  // namespace

// Asked once in a process: where it is refused, a use would enter the kernel each time to hear that again.
bool UseLine::Prepare() {
  static constinit std::atomic<uint32_t> prepared_in = 0, refused_in = 0;  // processes
  const uint32_t process = ProcessGeneration();
  if (prepared_in.load(std::memory_order_acquire) == process) return true;
  if (refused_in.load(std::memory_order_relaxed) == process) return false;
  const bool is_prepared = os::PrepareProcessBarrier();
  (is_prepared ? prepared_in : refused_in).store(process, std::memory_order_release);
  return is_prepared;
}

UseLine* UseLine::Claim() {
  if (UseLineOwner::has_ended || !Prepare()) return nullptr;
  const uint32_t process = ProcessGeneration();
  for (UseLine* line = first_.load(std::memory_order_acquire); line != nullptr;
       line = line->next_) {
    uint32_t owner = line->owner_.load(std::memory_order_relaxed);
    if (owner == process || !line->owner_.compare_exchange_strong(owner, process)) continue;
    // What a parent's thread used there is used by nobody here.
    if (owner != 0) {
      for (UsePlace& place : line->places_) End(place);
    }
    line_owner.Arm();
    return own_ = line;
  }
  auto* const line = new (std::nothrow) UseLine();
  if (line == nullptr) return nullptr;
  line->owner_.store(process, std::memory_order_relaxed);
  line->next_ = first_.load(std::memory_order_relaxed);
  while (!first_.compare_exchange_weak(line->next_, line)) {
  }
  line_owner.Arm();
  return own_ = line;
}

void UseLine::FenceUses() {
  // Where it cannot be prepared no thread has a line.
  if (os::kBarrierIsSeen && Prepare()) os::ProcessBarrier();
}

bool UseLine::IsUsed(const void* object) {
  for (const UseLine* line = first_.load(std::memory_order_seq_cst); line != nullptr;
       line = line->next_) {
    const uint32_t owner = line->owner_.load(std::memory_order_seq_cst);
    if (owner != 0 && owner != ProcessGeneration()) continue;  // of a parent's thread
    for (const UsePlace& place : line->places_) {
      if (place.load(std::memory_order_seq_cst) == object) return true;
    }
  }
  return false;
}

}  // namespace rsm::internal
