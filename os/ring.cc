#include "os/ring.h"

#include <liburing.h>
#include <sys/mman.h>
#include <time.h>

#include <cstdlib>
#include <new>
#include <utility>

#include "os/raw_memory.h"
#include "os/thread_sanitizer.h"

#if OS_THREAD_SANITIZER
extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}
#endif

namespace os {
namespace {

// liburing maps and unmaps the memory of rings behind ThreadSanitizer's back, which then takes two
// rings that lie at one address, one after the other, for one. The kernel has kept them apart.
#if OS_THREAD_SANITIZER
char ring_memory;
void NoteThatMemoryComes() { __tsan_acquire(&ring_memory); }
void NoteThatMemoryGoes() { __tsan_release(&ring_memory); }
#else
void NoteThatMemoryComes() {}
void NoteThatMemoryGoes() {}
#endif

// Newer than the headers of some systems: completions wait until the thread enters the kernel,
// which it does anyway, instead of interrupting it. Linux 5.19.
constexpr unsigned kCooperative = 1U << 8;  // IORING_SETUP_COOP_TASKRUN

// Whether this is the process that made it. A process number would not do: in another namespace a
// child can have its parent's.
class ProcessMark {
 public:
  ProcessMark() = default;
  ProcessMark(const ProcessMark&) = delete;
  ProcessMark& operator=(const ProcessMark&) = delete;
  ~ProcessMark() {
    if (mark_ != nullptr) (void)RawMunmap(mark_, kBytes);
  }

  Errno Make() {
    void* const address =
        RawMmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (address == kMmapFailed) return Errno::Last();
    mark_ = static_cast<unsigned char*>(address);
    if (RawMadvise(mark_, kBytes, MADV_WIPEONFORK) != 0) return Errno::Last();
    *mark_ = 1;
    return kSuccess;
  }
  bool IsOurs() const { return *mark_ == 1; }

 private:
  static constexpr size_t kBytes = 1;  // the kernel rounds up to a page

  unsigned char* mark_ = nullptr;
};

class RealRing final : public Ring {
 public:
  RealRing(int descriptor, unsigned depth) : descriptor_(descriptor), depth_(depth) {}
  RealRing(const RealRing&) = delete;
  RealRing& operator=(const RealRing&) = delete;
  ~RealRing() override;

  Errno Open();

  bool Usable() const override { return mark_.IsOurs(); }
  unsigned depth() const override { return depth_; }
  void Push(const Transfer& transfer) override;
  Errno Wait() override;
  std::optional<Completion> Pop() override;
  void Drain() override;

 private:
  // Transfers that the kernel has and that were not popped.
  size_t in_flight() const { return outstanding_ - io_uring_sq_ready(&ring_); }

  const int descriptor_;
  const unsigned depth_;
  ProcessMark mark_;
  io_uring ring_ = {};
  bool open_ = false;
  size_t outstanding_ = 0;  // pushed and not popped
};

RealRing::~RealRing() {
  // In a child the ring's memory is not mapped, others may be at its addresses, and its descriptor
  // may have been closed and its number used again: nothing of it is touched. Exec closes it.
  if (!open_ || !mark_.IsOurs()) return;
  NoteThatMemoryGoes();
  io_uring_queue_exit(&ring_);
}

Errno RealRing::Open() {
  // The mark comes first: a fork by another thread may fall in between.
  if (const Errno error = mark_.Make(); !error.ok()) return error;
  int code = io_uring_queue_init(depth_, &ring_, kCooperative);
  if (code == -EINVAL) code = io_uring_queue_init(depth_, &ring_, 0);
  if (code < 0) return Errno(-code);
  NoteThatMemoryComes();
  open_ = true;
  return Errno(-io_uring_ring_dontfork(&ring_));
}

void RealRing::Push(const Transfer& transfer) {
  io_uring_sqe* const entry = io_uring_get_sqe(&ring_);
  if (entry == nullptr) std::abort();  // more than depth()
  const auto count = static_cast<unsigned>(transfer.parts.size());
  if (transfer.write) {
    io_uring_prep_writev(entry, descriptor_, transfer.parts.data(), count, transfer.offset);
  } else {
    io_uring_prep_readv(entry, descriptor_, transfer.parts.data(), count, transfer.offset);
  }
  entry->user_data = transfer.tag;
  ++outstanding_;
}

Errno RealRing::Wait() {
  while (true) {
    int code = io_uring_submit_and_wait(&ring_, 1);
    if ((code == -EAGAIN || code == -EBUSY) && in_flight() > 0) {
      // No memory for more at the moment; what ends sets some free.
      io_uring_cqe* ignored = nullptr;
      code = io_uring_wait_cqe(&ring_, &ignored);
    }
    if (code >= 0) return kSuccess;
    if (code == -EINTR) continue;
    // Somebody closed our descriptor: its number may be another's by now, so it is not closed.
    if (code == -EBADF || code == -EOPNOTSUPP) ring_.ring_fd = -1;
    return Errno(-code);
  }
}

std::optional<Ring::Completion> RealRing::Pop() {
  io_uring_cqe* entry = nullptr;
  if (io_uring_peek_cqe(&ring_, &entry) != 0) return std::nullopt;
  const Completion completion = {entry->user_data, entry->res};
  io_uring_cqe_seen(&ring_, entry);
  --outstanding_;
  return completion;
}

void RealRing::Drain() {
  while (in_flight() > 0) {
    if (Pop()) continue;
    // Completions are written to memory that stays mapped, even if the kernel lets us wait for them
    // no longer.
    io_uring_cqe* ignored = nullptr;
    if (io_uring_wait_cqe(&ring_, &ignored) == 0) continue;
    const timespec pause = {0, 100'000};
    (void)nanosleep(&pause, nullptr);
  }
}

}  // namespace

Result<std::unique_ptr<Ring>> OpenRing(int descriptor, unsigned depth) {
  std::unique_ptr<RealRing> ring(new (std::nothrow) RealRing(descriptor, depth));
  if (ring == nullptr) return Errno(ENOMEM);
  if (const Errno error = ring->Open(); !error.ok()) return error;
  return std::unique_ptr<Ring>(std::move(ring));
}

}  // namespace os
