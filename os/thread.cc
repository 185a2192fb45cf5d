#include "os/thread.h"

#include <pthread.h>
#include <signal.h>

#include <cerrno>
#include <new>
#include <system_error>
#include <utility>

namespace os {

Errno StartThread(std::thread& thread, const char* name, std::function<void()> body) {
  // A thread inherits the mask of the one that starts it.
  sigset_t all, before;
  sigfillset(&all);
  if (const int error = pthread_sigmask(SIG_SETMASK, &all, &before); error != 0) {
    return Errno(error);
  }
  Errno error;
  try {
    thread = std::thread(std::move(body));
    (void)pthread_setname_np(thread.native_handle(), name);
  } catch (const std::system_error&) {
    error = Errno(EAGAIN);
  } catch (const std::bad_alloc&) {
    error = Errno(EAGAIN);
  }
  (void)pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return error;
}

}  // namespace os
