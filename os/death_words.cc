#include "os/death_words.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bitset>
#include <new>

#include "os/descriptor.h"
#include "os/raw_memory.h"

namespace os {

// What the kernel reads of both is as its robust_list and robust_list_head: a circle, the pointer
// to the head last. It reads them when this thread has executed its last instruction, whichever
// that was: what it may meet is set in an order that makes sense after each of them. Stores that
// the compiler leaves in that order will do, for it is the same thread.
struct DeathWords::Link {
  std::atomic<Link*> next;
  std::atomic<Link*>* pointed_by;  // not for the kernel
};

struct DeathWords::Head {
  std::atomic<Link*> first;
  long offset;    // of a word from its link
  Link* pending;  // none, ever

  // Not for the kernel.
  uint32_t thread;                // its number, which the words of a living thread hold
  size_t committed;               // link pages that have memory, from the first on
  std::bitset<kCountMax> in_use;  // places

  Link* end() { return reinterpret_cast<Link*>(this); }
};

namespace {

constexpr int kReserved = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

static_assert(sizeof(std::atomic<void*>) == sizeof(robust_list*) &&
              std::atomic<void*>::is_always_lock_free);
static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t) &&
              std::atomic<uint32_t>::is_always_lock_free);

size_t PageSize() {
  static const auto size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

// The page of no other object stays where it is for certain, and has the size that is expected.
Errno CheckObject(int descriptor) {
  const int seals = fcntl(descriptor, F_GET_SEALS);
  if (seals < 0) return Errno::Last();
  struct stat status;
  if (fstat(descriptor, &status) != 0) return Errno::Last();
  const bool is_good = (seals & F_SEAL_SHRINK) != 0 && status.st_size > 0 && IsInMemory(descriptor);
  return is_good ? kSuccess : Errno(EINVAL);
}

// Not by mmap(2) there: where that fails the place may be a hole, which another thread's mapping
// may fill before the place is used again.
Errno MapAt(void* place, int descriptor) {
  void* const page =
      RawMmap(nullptr, PageSize(), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (page == kMmapFailed) return Errno::Last();
  if (RawMadvise(page, PageSize(), MADV_DONTFORK) == 0 &&
      RawMremap(page, PageSize(), PageSize(), MREMAP_MAYMOVE | MREMAP_FIXED, place) !=
          kMmapFailed) {
    return kSuccess;
  }
  const Errno error = Errno::Last();
  (void)RawMunmap(page, PageSize());
  return error;
}

}  // namespace

DeathWords::Link* DeathWords::LinkAt(size_t index) const {
  return reinterpret_cast<Link*>(links_ + index * PageSize());
}

std::byte* DeathWords::PageAt(size_t index) const {
  return links_ + (kCountMax + index) * PageSize();
}

Errno DeathWords::Begin() {
  static_assert(offsetof(Head, first) == offsetof(robust_list_head, list));
  static_assert(offsetof(Head, offset) == offsetof(robust_list_head, futex_offset));
  static_assert(offsetof(Head, pending) == offsetof(robust_list_head, list_op_pending));
  const size_t bytes = (1 + 2 * kCountMax) * PageSize();
  void* const reserved = RawMmap(nullptr, bytes, PROT_NONE, kReserved, -1, 0);
  if (reserved == kMmapFailed) return Errno::Last();
  if (RawMadvise(reserved, bytes, MADV_DONTFORK) == 0 &&
      mprotect(reserved, PageSize(), PROT_READ | PROT_WRITE) == 0) {
    Head* const head = new (reserved) Head();
    head->first = head->end();
    head->offset = static_cast<long>(kCountMax * PageSize());
    head->thread = static_cast<uint32_t>(syscall(SYS_gettid));
    if (syscall(SYS_set_robust_list, head, sizeof(robust_list_head)) == 0) {
      head_ = head;
      links_ = static_cast<std::byte*>(reserved) + PageSize();
      return kSuccess;
    }
  }
  const Errno error = Errno::Last();
  (void)RawMunmap(reserved, bytes);
  return error;
}

Result<void*> DeathWords::Add(int descriptor) {
  size_t index = 0;
  while (index < kCountMax && head_->in_use[index]) ++index;
  if (index == kCountMax) return Errno(ENFILE);
  if (const Errno error = CheckObject(descriptor); !error.ok()) return error;
  if (index == head_->committed) {
    if (mprotect(LinkAt(index), PageSize(), PROT_READ | PROT_WRITE) != 0) return Errno::Last();
    ++head_->committed;
  }
  if (const Errno error = MapAt(PageAt(index), descriptor); !error.ok()) return error;
  head_->in_use[index] = true;

  Link* const next = head_->first;
  Link* const link = new (LinkAt(index)) Link{.next = next, .pointed_by = &head_->first};
  if (next != head_->end()) next->pointed_by = &link->next;
  head_->first = link;
  // Last: a word that says alive is in the list. The kernel passes by one that has another number,
  // and wakes somebody where it is marked as waited for.
  auto* const word = reinterpret_cast<std::atomic<uint32_t>*>(PageAt(index));
  word->store(head_->thread | FUTEX_WAITERS);
  return static_cast<void*>(PageAt(index));
}

void DeathWords::Remove(void* page) {
  const auto index = static_cast<size_t>(static_cast<std::byte*>(page) - PageAt(0)) / PageSize();
  Link* const link = LinkAt(index);
  Link* const next = link->next;
  if (next != head_->end()) next->pointed_by = link->pointed_by;
  *link->pointed_by = next;  // from here on the kernel does not see it
  (void)RawMadvise(link, PageSize(), MADV_DONTNEED);
  // Where this fails it may be a hole now, or the page still: the place is not used any more.
  if (RawMmap(page, PageSize(), PROT_NONE, kReserved | MAP_FIXED, -1, 0) == kMmapFailed) return;
  (void)RawMadvise(page, PageSize(), MADV_DONTFORK);
  head_->in_use[index] = false;
}

bool DeathWords::IsAlive(const std::atomic<uint32_t>& word) {
  const uint32_t value = word.load(std::memory_order_acquire);
  return (value & FUTEX_TID_MASK) != 0 && (value & FUTEX_OWNER_DIED) == 0;
}

}  // namespace os
