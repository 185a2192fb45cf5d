// The calls of rsm of which every system call fails, each with what it must have done or left undone.

#ifndef TESTS_FAULT_RSM_CALLS_H_
#define TESTS_FAULT_RSM_CALLS_H_

#include <cstddef>
#include <functional>

#include "tests/fault/rsm_world.h"

namespace fault {

// A call of rsm, with what must hold before it, after it, and after it has failed.
struct Call {
  const char* name;
  std::function<void(World&)> prepare;
  std::function<int(World&)> make;
  std::function<void(World&)> expect_made;
  std::function<void(World&)> expect_not_made = [](World&) {};
  bool always_succeeds = false;
  // Where there is no memory, what is left is the program's, but not private.
  bool may_leave_object = false;
  // Those of the thread that lets importers in, which this call begins.
  size_t descriptors_for_ever = 0;
  // When all calls fail, this one does not: nobody could bring back what it has taken apart.
  long spared = -1;
};

// Some are made of others, so that they are initialised in one file, in this order.
extern const Call kCreate;
// Over memory that is exported already.
extern const Call kCreateAgain;
extern const Call kDestroy;
extern const Call kRebind;
extern const Call kPublish;
// The object of readers is sealed against writers: it needs another one.
extern const Call kPublishForWriters;
extern const Call kRepublish;
extern const Call kUnpublish;
extern const Call kConnect;
extern const Call kMap;
extern const Call kDisconnect;
extern const Call kPollExport;
extern const Call kPollImport;

}  // namespace fault

#endif  // TESTS_FAULT_RSM_CALLS_H_
