// ForwardingMemory: a Memory that passes every call on to another one.
//
// Base of those that change a few calls: FaultyMemory, and the pretended ones of tests.

#ifndef OS_FORWARDING_MEMORY_H_
#define OS_FORWARDING_MEMORY_H_

#include "os/memory.h"

namespace os {

// The caller keeps `memory` alive. Thread-safety: as the Memory beneath.
class ForwardingMemory : public Memory {
 public:
  explicit ForwardingMemory(Memory& memory) : memory_(memory) {}

  size_t page_size() const override { return memory_.page_size(); }
  Result<PageRange> Map(PageCount count, Access access, Fork fork, PageCount alignment) override {
    return memory_.Map(count, access, fork, alignment);
  }
  Errno Commit(PageRange pages) override { return memory_.Commit(pages); }
  Errno CommitHugePages(PageRange pages) override { return memory_.CommitHugePages(pages); }
  Errno DecommitHugePages(PageRange pages) override { return memory_.DecommitHugePages(pages); }
  Errno Decommit(PageRange pages) override { return memory_.Decommit(pages); }
  Errno Unmap(PageRange pages) override { return memory_.Unmap(pages); }
  Errno Lock(PageRange pages) override { return memory_.Lock(pages); }
  Errno Unlock(PageRange pages) override { return memory_.Unlock(pages); }
  Errno CheckLockLimit(PageCount more) const override { return memory_.CheckLockLimit(more); }
  Errno CheckMapped(PageRange pages) const override { return memory_.CheckMapped(pages); }
  Errno Populate(PageRange pages) override { return memory_.Populate(pages); }
  Errno PopulateForWriting(PageRange pages) override { return memory_.PopulateForWriting(pages); }
  Errno ReserveBlocks(PageRange pages) override { return memory_.ReserveBlocks(pages); }
  Errno OmitFromDumps(PageRange pages) override { return memory_.OmitFromDumps(pages); }
  Errno OmitFromFork(PageRange pages) override { return memory_.OmitFromFork(pages); }
  Errno AdviseHugePages(PageRange pages, HugePages advice) override {
    return memory_.AdviseHugePages(pages, advice);
  }
  Errno PageOut(PageRange pages) override { return memory_.PageOut(pages); }
  Result<bool> AllLocked(PageRange pages) const override { return memory_.AllLocked(pages); }
  Result<PageCount> CountPresent(PageRange pages) const override {
    return memory_.CountPresent(pages);
  }
  Result<PageCount> CountNeedingMemory(PageRange pages) const override {
    return memory_.CountNeedingMemory(pages);
  }
  Result<std::optional<Mapping>> MappingAt(PageNumber page) const override {
    return memory_.MappingAt(page);
  }
  std::optional<uint64_t> FileBytes(const Mapping& mapping) const override {
    return memory_.FileBytes(mapping);
  }

 protected:
  Memory& memory() const { return memory_; }

 private:
  Memory& memory_;
};

}  // namespace os

#endif  // OS_FORWARDING_MEMORY_H_
