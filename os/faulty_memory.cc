#include "os/faulty_memory.h"

namespace os::testing {
namespace {

using Kind = FaultPlan::Kind;

PageRange FirstHalf(PageRange pages) {
  return PageRange(pages.begin(), PageCount((pages.count().value() + 1) / 2));
}

}  // namespace

Result<PageRange> FaultyMemory::Map(PageCount count, Access access, Fork fork,
                                    PageCount alignment) {
  if (const Errno error = plan_.Next(Kind::kMap); !error.ok()) return error;
  return memory().Map(count, access, fork, alignment);
}

Errno FaultyMemory::Commit(PageRange pages) {
  if (const Errno error = plan_.Next(Kind::kCommit); !error.ok()) return error;
  return memory().Commit(pages);
}

Errno FaultyMemory::CommitHugePages(PageRange pages) {
  if (const Errno error = plan_.Next(Kind::kCommitHugePages); !error.ok()) return error;
  return memory().CommitHugePages(pages);
}

Errno FaultyMemory::DecommitHugePages(PageRange pages) {
  if (const Errno error = plan_.Next(Kind::kDecommitHugePages); !error.ok()) return error;
  return memory().DecommitHugePages(pages);
}

Errno FaultyMemory::Decommit(PageRange pages) {
  if (const Errno error = plan_.Next(Kind::kDecommit); !error.ok()) return error;
  return memory().Decommit(pages);
}

Errno FaultyMemory::Unmap(PageRange pages) {
  if (const Errno error = plan_.Next(Kind::kUnmap); !error.ok()) return error;
  return memory().Unmap(pages);
}

Errno FaultyMemory::Lock(PageRange pages) {
  const Errno error = plan_.Next(Kind::kLock);
  if (error.ok()) return memory().Lock(pages);
  if (plan_.half_done()) (void)memory().Lock(FirstHalf(pages));
  return error;
}

Errno FaultyMemory::Unlock(PageRange pages) {
  const Errno error = plan_.Next(Kind::kUnlock);
  if (error.ok()) return memory().Unlock(pages);
  if (plan_.half_done()) (void)memory().Unlock(FirstHalf(pages));
  return error;
}

Errno FaultyMemory::CheckLockLimit(PageCount more) const {
  if (const Errno error = plan_.Next(Kind::kCheckLimit); !error.ok()) return error;
  return memory().CheckLockLimit(more);
}

Errno FaultyMemory::CheckMapped(PageRange pages) const {
  if (const Errno error = plan_.Next(Kind::kCheckMapped); !error.ok()) return error;
  return memory().CheckMapped(pages);
}

Errno FaultyMemory::Populate(PageRange pages) {
  if (const Errno error = plan_.Next(Kind::kPopulate); !error.ok()) return error;
  return memory().Populate(pages);
}

Errno FaultyMemory::PopulateForWriting(PageRange pages) {
  if (const Errno error = plan_.Next(Kind::kPopulateForWriting); !error.ok()) return error;
  return memory().PopulateForWriting(pages);
}

Errno FaultyMemory::ReserveBlocks(PageRange pages) {
  if (const Errno error = plan_.Next(Kind::kReserveBlocks); !error.ok()) return error;
  return memory().ReserveBlocks(pages);
}

Errno FaultyMemory::OmitFromDumps(PageRange pages) {
  if (const Errno error = plan_.Next(Kind::kOmitFromDumps); !error.ok()) return error;
  return memory().OmitFromDumps(pages);
}

Errno FaultyMemory::OmitFromFork(PageRange pages) {
  if (const Errno error = plan_.Next(Kind::kOmitFromFork); !error.ok()) return error;
  return memory().OmitFromFork(pages);
}

Errno FaultyMemory::AdviseHugePages(PageRange pages, HugePages advice) {
  if (const Errno error = plan_.Next(Kind::kAdviseHugePages); !error.ok()) return error;
  return memory().AdviseHugePages(pages, advice);
}

Errno FaultyMemory::PageOut(PageRange pages) {
  if (const Errno error = plan_.Next(Kind::kPageOut); !error.ok()) return error;
  return memory().PageOut(pages);
}

Result<bool> FaultyMemory::AllLocked(PageRange pages) const {
  if (const Errno error = plan_.Next(Kind::kAllLocked); !error.ok()) return error;
  return memory().AllLocked(pages);
}

Result<PageCount> FaultyMemory::CountPresent(PageRange pages) const {
  if (const Errno error = plan_.Next(Kind::kCountPresent); !error.ok()) return error;
  return memory().CountPresent(pages);
}

Result<PageCount> FaultyMemory::CountNeedingMemory(PageRange pages) const {
  if (const Errno error = plan_.Next(Kind::kCountNeeding); !error.ok()) return error;
  return memory().CountNeedingMemory(pages);
}

Result<std::optional<Mapping>> FaultyMemory::MappingAt(PageNumber page) const {
  if (const Errno error = plan_.Next(Kind::kMappingAt); !error.ok()) return error;
  return memory().MappingAt(page);
}

}  // namespace os::testing
