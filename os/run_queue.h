// RunQueueDelay: for how long a thread was ready to run and had no CPU.
//
// Where a figure needs the wall clock, other programs that want the same CPUs are in it too: by
// tens of milliseconds on a small machine. The kernel counts that part, so that it can be left out.

#ifndef OS_RUN_QUEUE_H_
#define OS_RUN_QUEUE_H_

namespace os {

// Thread-safe: any thread may ask about the one that made it, while that one exists.
class RunQueueDelay {
 public:
  // Of the calling thread.
  RunQueueDelay();
  RunQueueDelay(const RunQueueDelay&) = delete;
  RunQueueDelay& operator=(const RunQueueDelay&) = delete;
  ~RunQueueDelay();

  // Nanoseconds since the thread began. 0 where the kernel does not tell (no CONFIG_SCHED_INFO).
  double Ns() const;

 private:
  int descriptor_;
};

}  // namespace os

#endif  // OS_RUN_QUEUE_H_
