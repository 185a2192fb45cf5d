// ThreadId: which thread of this process, as the kernel numbers them.

#ifndef OS_THREAD_ID_H_
#define OS_THREAD_ID_H_

#include <cstdint>

namespace os {

// Never 0. A number is used again some time after its thread has ended.
using ThreadId = int32_t;

// Enters the kernel.
ThreadId CurrentThread();
// The same, remembered in the thread: it enters the kernel once. A child that was made by clone(2)
// instead of fork(3) may get its parent's.
ThreadId ThisThread();
// Whether a thread of this process has the number now. Enters the kernel.
bool IsAlive(ThreadId thread);
// The same of another process, as far as /proc shows it.
bool IsThreadOf(int32_t pid, ThreadId thread);

}  // namespace os

#endif  // OS_THREAD_ID_H_
