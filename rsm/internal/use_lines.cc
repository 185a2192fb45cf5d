#include "rsm/internal/use_lines.h"

#include <new>

#include "os/process_barrier.h"

namespace rsm::internal {

constinit std::atomic<UseLine*> UseLine::first_ = nullptr;

// Gives the line back when the thread ends. Until then it may be asked for again, by what ends later.
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

bool UseLine::Prepare() {
  static constinit std::atomic<uint32_t> prepared = 0;  // the process that has done so
  if (prepared.load(std::memory_order_acquire) == ProcessGeneration()) return true;
  if (!os::PrepareProcessBarrier()) return false;
  prepared.store(ProcessGeneration(), std::memory_order_release);
  return true;
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
  if (!kUsesAreFenced && Prepare()) os::ProcessBarrier();
}

bool UseLine::IsUsed(const void* object) {
  for (const UseLine* line = first_.load(std::memory_order_seq_cst); line != nullptr;
       line = line->next_) {
    if (line->owner_.load(std::memory_order_seq_cst) != ProcessGeneration()) continue;
    for (const UsePlace& place : line->places_) {
      if (place.load(std::memory_order_seq_cst) == object) return true;
    }
  }
  return false;
}

}  // namespace rsm::internal
