// FaultyMemory: another Memory whose calls fail as a FaultPlan says.
//
// Over RealMemory it shows what the callers make of an error of the kernel, with the kernel's own
// evidence afterwards; over FakeMemory it does so without the kernel.

#ifndef OS_FAULTY_MEMORY_H_
#define OS_FAULTY_MEMORY_H_

#include <optional>

#include "os/fault_plan.h"
#include "os/forwarding_memory.h"

namespace os::testing {

// A call that fails by the plan does not reach `memory`, but for a half done Lock or Unlock: that
// one is passed on for the first half of its range, rounded up, before it fails, as the kernel
// leaves it where it stops within a range. (The answer to the passed-on half is ignored.)
// page_size() and FileBytes() never fail and are not counted; calls on empty ranges are.
//
// Thread-safety: as the Memory beneath. The caller keeps `memory` and `plan` alive.
class FaultyMemory final : public ForwardingMemory {
 public:
  FaultyMemory(Memory& memory, FaultPlan& plan) : ForwardingMemory(memory), plan_(plan) {}

  Result<PageRange> Map(PageCount count, Access access, Fork fork, PageCount alignment) override;
  Errno Commit(PageRange pages) override;
  Errno CommitHugePages(PageRange pages) override;
  Errno DecommitHugePages(PageRange pages) override;
  Errno Decommit(PageRange pages) override;
  Errno Unmap(PageRange pages) override;
  Errno Lock(PageRange pages) override;
  Errno Unlock(PageRange pages) override;
  Errno CheckLockLimit(PageCount more) const override;
  Errno CheckMapped(PageRange pages) const override;
  Errno Populate(PageRange pages) override;
  Errno PopulateForWriting(PageRange pages) override;
  Errno ReserveBlocks(PageRange pages) override;
  Errno OmitFromDumps(PageRange pages) override;
  Errno OmitFromFork(PageRange pages) override;
  Errno AdviseHugePages(PageRange pages, HugePages advice) override;
  Errno PageOut(PageRange pages) override;
  Result<bool> AllLocked(PageRange pages) const override;
  Result<PageCount> CountPresent(PageRange pages) const override;
  Result<PageCount> CountNeedingMemory(PageRange pages) const override;
  Result<std::optional<Mapping>> MappingAt(PageNumber page) const override;

 private:
  FaultPlan& plan_;
};

}  // namespace os::testing

#endif  // OS_FAULTY_MEMORY_H_
