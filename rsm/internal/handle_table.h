// HandleTable: objects behind handles that callers hold as pointers.
//
// A handle is a number, not an address: one that was given back, or never given out, is told from a valid
// one without touching memory that may be gone. The check takes no latch and no locked instruction, and keeps
// the object from being destroyed while it is used (use_lines.h).
//
// Thread-safe. A forked child has the parent's table as it was, if nobody was adding or removing then.

#ifndef RSM_INTERNAL_HANDLE_TABLE_H_
#define RSM_INTERNAL_HANDLE_TABLE_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "os/latch.h"
#include "os/process_barrier.h"
#include "rsm/internal/generation.h"
#include "rsm/internal/use_lines.h"

namespace rsm::internal {

template <typename T, unsigned kKind>
class HandleTable {
  struct Slot;

 public:
  // A use of an object: valid while it lives. Empty where the handle is not.
  class Use {
   public:
    Use() = default;
    Use(Use&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)), place_(other.place_) {}
    Use& operator=(Use&&) = delete;
    ~Use() {
      if (slot_ == nullptr) return;
      if (place_ != nullptr) [[likely]] {
        UseLine::End(*place_);
      } else {
        slot_->state.fetch_sub(1, std::memory_order_release);
      }
    }
    explicit operator bool() const { return slot_ != nullptr; }
    T* operator->() const { return slot_->object.get(); }
    T& operator*() const { return *slot_->object; }
    // For who waits: the object lives as long as this, though its handle may be given back.
    std::shared_ptr<T> Share() const { return slot_->object; }

   private:
    friend class HandleTable;
    Use(Slot* slot, UsePlace* place) : slot_(slot), place_(place) {}
    Slot* slot_ = nullptr;
    UsePlace* place_ = nullptr;  // null: it is counted in the slot
  };

  constexpr HandleTable() = default;

  // The handle; null: there are too many, or there is no memory.
  void* Add(std::shared_ptr<T> object) {
    (void)UseLine::Prepare();  // so that it does not hold up who uses the object first
    const os::LatchHolder holder(latch_);
    const size_t index = TakeIndex();
    if (index == kCountMax) return nullptr;
    Slot& slot = *At(index);
    slot.object = std::move(object);
    slot.process = ProcessGeneration();
    // Odd generations are valid.
    const uint64_t state =
        slot.state.fetch_add(kGeneration, std::memory_order_release) + kGeneration;
    return ToHandle(index, state / kGeneration);
  }

  Use Find(const void* handle) const {
    const Place place = FromHandle(handle);
    if (!place.is_one) return Use();
    Slot* const slot = At(place.index);
    if (slot == nullptr) return Use();
    UseLine* const line = UseLine::OfThisThread();
    UsePlace* const use = line != nullptr ? line->Begin(slot) : nullptr;
    if (use == nullptr) [[unlikely]]
      return FindCounted(slot, place.generation);
    if (slot->state.load(os::kLoadAfterStore) / kGeneration == place.generation) [[likely]] {
      return Use(slot, use);
    }
    UseLine::End(*use);
    return Use();
  }

  // The handle is none from now on. The object, once nobody uses it; null: it was none already.
  std::shared_ptr<T> Remove(const void* handle) {
    const Place place = FromHandle(handle);
    Slot* const slot = place.is_one ? At(place.index) : nullptr;
    if (slot == nullptr) return nullptr;
    uint64_t state = slot->state.load(std::memory_order_relaxed);
    do {
      if (state / kGeneration != place.generation) return nullptr;
    } while (
        !slot->state.compare_exchange_weak(state, state + kGeneration, std::memory_order_seq_cst));
    // Uses are short: who waits holds a share instead. Those of a parent's threads never end.
    const bool is_inherited = slot->process != ProcessGeneration();
    if (!is_inherited) {
      UseLine::FenceUses();
      while (IsUsed(*slot)) std::this_thread::yield();
    }
    std::shared_ptr<T> object = std::move(slot->object);
    slot->object = nullptr;
    if (is_inherited) return object;
    const os::LatchHolder holder(latch_);
    slot->next_free = first_free_;
    first_free_ = place.index;
    return object;
  }

 private:
  // A handle: 4 bits of kind, 16 of index, 32 of generation.
  static constexpr uint64_t kGeneration = uint64_t{1} << 32;  // below it: users that are counted
  static constexpr size_t kChunk = 256, kChunks = 256;
  static constexpr size_t kCountMax = kChunk * kChunks;
  static_assert(kKind > 0 && kKind < 16);

  struct Slot {
    std::atomic<uint64_t> state = 0;
    std::shared_ptr<T> object;
    uint32_t process = 0;  // that added it
    size_t next_free = kCountMax;
  };
  struct Place {
    bool is_one;
    size_t index;
    uint64_t generation;
  };

  // By two locked additions.
  static Use FindCounted(Slot* slot, uint64_t generation) {
    const uint64_t state = slot->state.fetch_add(1, std::memory_order_acquire);
    if (state / kGeneration == generation) return Use(slot, nullptr);
    slot->state.fetch_sub(1, std::memory_order_release);
    return Use();
  }
  static bool IsUsed(const Slot& slot) {
    return slot.state.load(std::memory_order_acquire) % kGeneration != 0 || UseLine::IsUsed(&slot);
  }

  static void* ToHandle(size_t index, uint64_t generation) {
    return reinterpret_cast<void*>((generation << 20) | (index << 4) | kKind);
  }
  static Place FromHandle(const void* handle) {
    const uint64_t bits = reinterpret_cast<uintptr_t>(handle);
    const uint64_t generation = bits >> 20;
    return {(bits & 15) == kKind && generation % 2 == 1 && generation < kGeneration,
            (bits >> 4) % kCountMax, generation};
  }
  Slot* At(size_t index) const {
    Slot* const chunk = chunks_[index / kChunk].load(std::memory_order_acquire);
    return chunk == nullptr ? nullptr : chunk + index % kChunk;
  }

  // kCountMax: none.
  size_t TakeIndex() ABSL_EXCLUSIVE_LOCKS_REQUIRED(latch_) {
    if (first_free_ != kCountMax) {
      const size_t index = first_free_;
      first_free_ = At(index)->next_free;
      return index;
    }
    if (used_ == kCountMax) return kCountMax;
    if (used_ % kChunk == 0) {
      Slot* const chunk = new (std::nothrow) Slot[kChunk];
      if (chunk == nullptr) return kCountMax;
      chunks_[used_ / kChunk].store(chunk, std::memory_order_release);
    }
    return used_++;
  }

  // Never freed: stale handles are looked up there.
  std::array<std::atomic<Slot*>, kChunks> chunks_ = {};
  os::Latch latch_;
  size_t first_free_ ABSL_GUARDED_BY(latch_) = kCountMax;
  size_t used_ ABSL_GUARDED_BY(latch_) = 0;
};

}  // namespace rsm::internal

#endif  // RSM_INTERNAL_HANDLE_TABLE_H_
