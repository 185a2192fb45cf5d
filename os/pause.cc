#include "os/pause.h"

#include <cerrno>
#include <ctime>

namespace os {

void Pause() {
  const int saved = errno;
  const timespec shortest{0, 1};
  (void)nanosleep(&shortest, nullptr);  // a signal may end it sooner
  errno = saved;
}

}  // namespace os
