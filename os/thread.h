// StartThread: a thread of the library's own, which the program does not notice.

#ifndef OS_THREAD_H_
#define OS_THREAD_H_

#include <functional>
#include <thread>

#include "os/errno.h"

namespace os {

// Starts a thread in which no signal handler of the program runs: all signals are blocked there.
// `name`: as ps(1) shows it, at most 15 characters. EAGAIN: there can be no more threads, or there is
// no memory; `thread` is as it was. Precondition: `thread` is not joinable.
Errno StartThread(std::thread& thread, const char* name, std::function<void()> body);

}  // namespace os

#endif  // OS_THREAD_H_
