// FaultPlan: which call of a fake or a decorator fails, and with what.
//
// A path that only an error takes is tested by making every call fail once: ForEachFault runs a
// scenario with its first, second, third … call failing, until a run gets by without a failure.
// FaultyMemory and FaultyFile ask the plan before every call that they pass on.

#ifndef OS_FAULT_PLAN_H_
#define OS_FAULT_PLAN_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "os/errno.h"
#include "os/latch.h"

namespace os::testing {

// Deterministic: the answers depend on the order of the calls alone. Safe from every thread.
// Private to a process: a forked child goes on with a copy. The caller keeps it alive for its
// users.
class FaultPlan {
 public:
  enum class Kind {
    // Memory
    kMap,
    kCommit,
    kCommitHugePages,
    kDecommitHugePages,
    kDecommit,
    kUnmap,
    kLock,
    kUnlock,
    kCheckMapped,
    kPopulate,
    kPopulateForWriting,
    kReserveBlocks,
    kOmitFromDumps,
    kOmitFromFork,
    kAdviseHugePages,
    kPageOut,
    kCheckLimit,
    kAllLocked,
    kCountPresent,
    kCountNeeding,
    kMappingAt,
    // File
    kRead,
    kWrite,
    kSync,
    kSize,
  };
  static constexpr size_t kKinds = static_cast<size_t>(Kind::kSize) + 1;

  struct Fault {
    uint64_t nth = 1;               // the call that fails: 1 is the next one
    Errno error = Errno(EIO);       // what it fails with; not 0
    bool forever = false;           // whether every counted call after it fails too
    bool half_done = false;         // whether it does half of its work first, where it can
    std::optional<Kind> kind = {};  // counts and fails calls of this kind alone
  };

  // Nothing fails until Arm.
  FaultPlan() = default;
  FaultPlan(const FaultPlan&) = delete;
  FaultPlan& operator=(const FaultPlan&) = delete;

  // Replaces the fault; counting towards it begins anew, and fired() is false again.
  void Arm(const Fault& fault);
  // Nothing fails from now on. fired() stays.
  void Disarm();

  // Counts a call: 0 where it is to go on, else the error that it must fail with.
  Errno Next(Kind kind);
  // Whether the armed fault is half done.
  bool half_done() const;

  // Whether a call has failed since Arm.
  bool fired() const;
  // Calls since the plan was made: of one kind, and of all.
  uint64_t calls(Kind kind) const;
  uint64_t calls() const;

 private:
  mutable Latch latch_;
  std::optional<Fault> fault_ ABSL_GUARDED_BY(latch_);
  uint64_t counted_ ABSL_GUARDED_BY(latch_) = 0;  // calls since Arm that the fault counts
  bool fired_ ABSL_GUARDED_BY(latch_) = false;
  std::array<uint64_t, kKinds> calls_ ABSL_GUARDED_BY(latch_){};
};

// What ForEachFault tries.
struct FaultLoop {
  Errno error = Errno(EIO);
  std::optional<FaultPlan::Kind> kind = {};  // nullopt: calls of every kind
  uint64_t calls_max = 1000;                 // a scenario with more calls fails the test
};

// Runs `scenario` with an armed plan in which call 1, 2, 3 … fails, until a run ends with a plan
// that has not fired: once each for a single failure and for failing ever after, clean and half
// done. The scenario starts from nothing at each run, uses the plan, and checks its invariants with
// GoogleTest; a fatal failure ends the loop. `scenario` must make the same calls in each run.
void ForEachFault(const FaultLoop& loop, const std::function<void(FaultPlan&)>& scenario);

}  // namespace os::testing

#endif  // OS_FAULT_PLAN_H_
