// IoQueue: many reads or writes of one descriptor in flight at once.
//
// A device answers 32 requests at once in little more time than one; pread(2) asks for one. So
// requests go to the kernel by io_uring(7), in the order given, at most kDepth at a time. Where that
// is not to be had, and for what is no regular file and no block device, they are made one after
// the other, with the same results.
//
// Each call returns after every request is done and has its result: none is in flight then, also
// after errors. Requests are independent: the failure of one leaves the others as they are, and the
// order in which they take effect is not defined. Short and interrupted transfers are continued.
//
// A ring is opened when a call has more than one request and finds no idle one, so that calls of
// several threads go on side by side; kRingsKept idle ones are kept. It takes a descriptor
// (close-on-exec) and 16 KiB of kernel memory. Many kernels charge that to RLIMIT_MEMLOCK, but add it
// up by user and apart from what mlock(2) has locked: it takes no room from pages.
//
// fork(2): a child makes rings of its own. It inherits the descriptors of its parent's, and leaves
// them alone until it execs or ends.
//
// Thread-safety: every call is safe from every thread, and blocks in the kernel without a latch.

#ifndef OS_IO_QUEUE_H_
#define OS_IO_QUEUE_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <span>

#include "os/io_request.h"
#include "os/result.h"
#include "os/ring.h"

namespace os {

class IoBatch;

class IoQueue {
 public:
  using RingOpener = Result<std::unique_ptr<Ring>> (*)(int descriptor, unsigned depth);

  static constexpr unsigned kDepth = 128;
  static constexpr size_t kRingsKept = 4;

  // The caller keeps the descriptor open. `open_ring` is another one in tests.
  explicit IoQueue(int descriptor, RingOpener open_ring = OpenRing)
      : descriptor_(descriptor), open_ring_(open_ring) {}
  IoQueue(const IoQueue&) = delete;
  IoQueue& operator=(const IoQueue&) = delete;
  // No call may be running.
  ~IoQueue();

  // Results are those of ReadFully and WriteFully (os/positioned_io.h), request by request.
  void Read(std::span<ReadRequest> requests);
  void Write(std::span<WriteRequest> requests);

 private:
  struct Lane;

  void Run(IoBatch& batch);
  // An idle lane, or a new one; null where there is none to be had.
  std::unique_ptr<Lane> Take();
  void Keep(std::unique_ptr<Lane> lane);
  // False: the ring of the lane works no longer. All is done nevertheless.
  static bool RunIn(Lane& lane, IoBatch& batch);

  const int descriptor_;
  const RingOpener open_ring_;
  // No latch guards the idle lanes: a forked child could find it held for ever.
  std::array<std::atomic<Lane*>, kRingsKept> idle_ = {};
  std::atomic<bool> refused_ = false;  // io_uring is not to be had; not tried again
};

}  // namespace os

#endif  // OS_IO_QUEUE_H_
