#include "os/faulty_memory.h"

#include <gtest/gtest.h>

#include "os/fake_memory.h"

namespace os::testing {
namespace {

using Kind = FaultPlan::Kind;

class FaultyMemoryTest : public ::testing::Test {
 protected:
  PageRange First(uint64_t count) const { return PageRange(pages_.begin(), PageCount(count)); }

  // Makes each call once, and gives back the first error.
  Errno CallAll() {
    const PageNumber page = pages_.begin();
    const Errno errors[] = {
        faulty_.Map(PageCount(1), Memory::Access::kNone, Memory::Fork::kInherit, PageCount(1))
            .error(),
        faulty_.Commit(pages_),
        faulty_.CheckLockLimit(PageCount(1)),
        faulty_.Lock(pages_),
        faulty_.CountPresent(pages_).error(),
        faulty_.CountNeedingMemory(pages_).error(),
        faulty_.MappingAt(page).error(),
        faulty_.Unlock(pages_),
        faulty_.CheckMapped(pages_),
        faulty_.Populate(pages_),
        faulty_.AdviseHugePages(pages_, Memory::HugePages::kForbid),
        faulty_.PageOut(pages_),
        faulty_.CommitHugePages(PageRange(page, page)),
        faulty_.DecommitHugePages(PageRange(page, page)),
        faulty_.Decommit(pages_),
        faulty_.Unmap(pages_)};
    for (const Errno error : errors) {
      if (!error.ok()) return error;
    }
    return kSuccess;
  }

  FakeMemory fake_;
  FaultPlan plan_;
  FaultyMemory faulty_{fake_, plan_};
  const PageRange pages_ =
      *fake_.Map(PageCount(5), Memory::Access::kReadWrite, Memory::Fork::kInherit);
};

TEST_F(FaultyMemoryTest, PassesEveryCallOn) {
  EXPECT_EQ(faulty_.page_size(), fake_.page_size());
  EXPECT_EQ(CallAll(), kSuccess);
  EXPECT_EQ(plan_.calls(), 16u);
  EXPECT_EQ(fake_.lock_calls(), 1u);
  EXPECT_EQ(fake_.unlock_calls(), 1u);
}

TEST_F(FaultyMemoryTest, EveryKindOfCallCanFail) {
  for (const Kind kind :
       {Kind::kMap, Kind::kCommit, Kind::kCommitHugePages, Kind::kDecommitHugePages,
        Kind::kDecommit, Kind::kUnmap, Kind::kLock, Kind::kUnlock, Kind::kCheckMapped,
        Kind::kPopulate, Kind::kAdviseHugePages, Kind::kPageOut, Kind::kCheckLimit,
        Kind::kCountPresent, Kind::kCountNeeding, Kind::kMappingAt}) {
    fake_.AddMapping(pages_, Memory::Access::kReadWrite);
    plan_.Arm({.error = Errno(EXDEV), .kind = kind});
    const uint64_t before = plan_.calls(kind);
    EXPECT_EQ(CallAll(), Errno(EXDEV)) << static_cast<int>(kind);
    EXPECT_TRUE(plan_.fired());
    EXPECT_EQ(plan_.calls(kind), before + 1);
  }
}

TEST_F(FaultyMemoryTest, ACleanFailureDoesNothing) {
  plan_.Arm({.error = Errno(EAGAIN)});
  EXPECT_EQ(faulty_.Lock(pages_), Errno(EAGAIN));
  EXPECT_EQ(fake_.locked_pages(), PageCount(0));
  EXPECT_EQ(fake_.lock_calls(), 0u);
  EXPECT_EQ(faulty_.Lock(pages_), kSuccess);
  plan_.Arm({.error = Errno(ENOMEM)});
  EXPECT_EQ(faulty_.Unlock(pages_), Errno(ENOMEM));
  EXPECT_EQ(fake_.locked_pages(), PageCount(5));
}

TEST_F(FaultyMemoryTest, AHalfDoneFailureDoesTheFirstHalf) {
  plan_.Arm({.error = Errno(EAGAIN), .half_done = true});
  EXPECT_EQ(faulty_.Lock(pages_), Errno(EAGAIN));
  EXPECT_EQ(fake_.locked_pages(), PageCount(3));
  EXPECT_TRUE(fake_.IsLocked(First(3).begin()));
  EXPECT_FALSE(fake_.IsLocked(First(3).end()));
  EXPECT_EQ(faulty_.Lock(pages_), kSuccess);
  plan_.Arm({.error = Errno(ENOMEM), .half_done = true});
  EXPECT_EQ(faulty_.Unlock(First(4)), Errno(ENOMEM));
  EXPECT_EQ(fake_.locked_pages(), PageCount(3));
  EXPECT_FALSE(fake_.IsLocked(First(2).begin()));
}

TEST_F(FaultyMemoryTest, HalfOfOnePageIsThePage) {
  plan_.Arm({.error = Errno(ENOMEM), .half_done = true});
  EXPECT_EQ(faulty_.Lock(First(1)), Errno(ENOMEM));
  EXPECT_TRUE(fake_.IsLocked(pages_.begin()));
}

}  // namespace
}  // namespace os::testing
