#include "rsm/internal/process.h"

#include "os/at_fork.h"
#include "rsm/internal/binding.h"
#include "rsm/internal/generation.h"
#include "rsm/internal/import_segment.h"
#include "rsm/internal/poll_bridge.h"
#include "rsm/internal/server.h"

namespace rsm::internal {
namespace {

void BeforeFork() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  MemoryLatch().Lock();
  ServerLatch().Lock();
  ImportLatch().Lock();
  PollLatch().Lock();
}

void Unlock() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  PollLatch().Unlock();
  ImportLatch().Unlock();
  ServerLatch().Unlock();
  MemoryLatch().Unlock();
}

void InChild() ABSL_NO_THREAD_SAFETY_ANALYSIS {
  process_generation.fetch_add(1, std::memory_order_relaxed);
  service_threads.store(0);
  ForgetServer();
  ForgetBindings();
  ForgetImports();
  ForgetPolls();
  Unlock();
}

}  // namespace

bool PrepareForForks() {
  static const bool is_prepared = os::CallAroundFork(BeforeFork, Unlock, InChild);
  return is_prepared;
}

}  // namespace rsm::internal
