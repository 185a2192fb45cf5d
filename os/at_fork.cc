#include "os/at_fork.h"

#include <pthread.h>

namespace os {

bool CallAroundFork(void (*before)(), void (*in_parent)(), void (*in_child)()) {
  return pthread_atfork(before, in_parent, in_child) == 0;
}

}  // namespace os
