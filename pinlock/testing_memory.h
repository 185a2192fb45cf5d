// LockingMemory: which memory pinlock/testing.h asks for locks.

#ifndef PINLOCK_TESTING_MEMORY_H_
#define PINLOCK_TESTING_MEMORY_H_

#include "os/memory.h"

namespace pinlock::testing::internal {

// That of the FakeLockLimit which lives, or else the kernel's.
const os::Memory& LockingMemory();

}  // namespace pinlock::testing::internal

#endif  // PINLOCK_TESTING_MEMORY_H_
