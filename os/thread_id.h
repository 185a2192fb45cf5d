// ThreadId: which thread of this process, as the kernel numbers them.

#ifndef OS_THREAD_ID_H_
#define OS_THREAD_ID_H_

#include <cstdint>

namespace os {

// Never 0. A number is used again some time after its thread has ended.
using ThreadId = int32_t;

// Enters the kernel.
ThreadId CurrentThread();
// Whether a thread of this process has the number now. Enters the kernel.
bool IsAlive(ThreadId thread);

}  // namespace os

#endif  // OS_THREAD_ID_H_
