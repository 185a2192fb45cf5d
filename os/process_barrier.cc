#include "os/process_barrier.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace os {
namespace {

long Membarrier(int command) { return syscall(SYS_membarrier, command, 0, 0); }

void Make(int command, const char* call) {
  if (Membarrier(command) == 0) return;
  std::fprintf(stderr, "os::%s: membarrier(2) has failed; was it prepared?\n", call);
  std::abort();
}

}  // namespace

bool PrepareProcessBarrier() { return Membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0; }
void ProcessBarrier() { Make(MEMBARRIER_CMD_PRIVATE_EXPEDITED, "ProcessBarrier"); }

bool PrepareSharedBarrier() { return Membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) == 0; }
void SharedBarrier() { Make(MEMBARRIER_CMD_GLOBAL_EXPEDITED, "SharedBarrier"); }

}  // namespace os
