#include "pinlock/internal/diagnosis.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "gtest/gtest.h"
#include "os/fake_memory.h"
#include "os/fault_plan.h"
#include "os/faulty_memory.h"
#include "os/file.h"
#include "tests/support/test_mapping.h"

namespace pinlock::internal {
namespace {

using Kind = os::testing::FaultPlan::Kind;
using os::Memory;
using test_support::PageSize;
using test_support::TestMapping;

os::PageRange Pages(uint64_t first, uint64_t count) {
  return os::PageRange(os::PageNumber(first), os::PageCount(count));
}

Failure DiagnoseOn(Memory& memory, os::PageRange range, os::Errno kernel = os::Errno(ENOMEM)) {
  Failure failure;
  Diagnose(memory, os::RealLimits(), range, range.count(), kernel, failure);
  EXPECT_EQ(failure.error, ErrnoOf(failure.cause));
  EXPECT_EQ(failure.bytes_needed, range.bytes(memory.page_size()));
  return failure;
}

// --- On a fake ----------------------------------------------------------------------------------

class DiagnosisOnAFake : public testing::Test {
 protected:
  DiagnosisOnAFake() { fake_.AddMapping(Pages(100, 10), Memory::Access::kReadWrite); }

  void ExpectCause(os::PageRange range, os::Errno kernel, Cause cause, uint64_t page = 0) {
    const Failure failure = DiagnoseOn(faulty_, range, kernel);
    EXPECT_EQ(failure.cause, cause);
    EXPECT_EQ(failure.where, page * fake_.page_size());
  }
  void FailForEver(Kind kind, int error) {
    os::testing::FaultPlan::Fault fault;
    fault.error = os::Errno(error);
    fault.kind = kind;
    fault.forever = true;
    plan_.Arm(fault);
  }

  os::testing::FakeMemory fake_;
  os::testing::FaultPlan plan_;
  os::testing::FaultyMemory faulty_{fake_, plan_};
};

TEST_F(DiagnosisOnAFake, FindsTheFirstPageThatIsNotMapped) {
  ExpectCause(Pages(105, 10), os::Errno(ENOMEM), Cause::kHole, 110);
  ExpectCause(Pages(95, 10), os::Errno(ENOMEM), Cause::kHole, 95);
  EXPECT_EQ(FirstUnmapped(fake_, Pages(95, 10)), os::PageNumber(95));
  EXPECT_EQ(FirstUnmapped(fake_, Pages(105, 10)), os::PageNumber(110));
  EXPECT_EQ(FirstUnmapped(fake_, Pages(100, 10)), os::PageNumber(110)) << "the end: all are mapped";
  EXPECT_EQ(FirstUnmapped(fake_, Pages(50, 0)), os::PageNumber(50));
}

TEST_F(DiagnosisOnAFake, FindsTheFirstInaccessiblePage) {
  fake_.AddMapping(Pages(104, 2), Memory::Access::kNone);
  ExpectCause(Pages(100, 10), os::Errno(ENOMEM), Cause::kInaccessible, 104);
  ExpectCause(Pages(105, 5), os::Errno(ENOMEM), Cause::kInaccessible, 105);
}

TEST_F(DiagnosisOnAFake, NamesTheFirstBadPageOfSeveral) {
  fake_.AddMapping(Pages(104, 2), Memory::Access::kNone);
  (void)fake_.Unmap(Pages(108, 1));
  ExpectCause(Pages(100, 10), os::Errno(ENOMEM), Cause::kInaccessible, 104);
  (void)fake_.Unmap(Pages(102, 1));
  ExpectCause(Pages(100, 10), os::Errno(ENOMEM), Cause::kHole, 102);
}

TEST_F(DiagnosisOnAFake, FindsThePageThatLiesPastTheEndOfItsFile) {
  for (uint64_t pages_in_file = 0; pages_in_file < 8; ++pages_in_file) {
    fake_.AddFileMapping(Pages(200, 8), os::PageCount(pages_in_file));
    ExpectCause(Pages(200, 8), os::Errno(ENOMEM), Cause::kPastEndOfFile, 200 + pages_in_file);
  }
}

TEST_F(DiagnosisOnAFake, APageInsideItsFileThatCannotBeReadHasNoBlock) {
  fake_.AddFileMapping(Pages(200, 8), os::PageCount(8));
  FailForEver(Kind::kPopulate, EFAULT);
  ExpectCause(Pages(200, 8), os::Errno(ENOMEM), Cause::kFileSystemFull, 200);
}

TEST_F(DiagnosisOnAFake, WhatCannotBePopulatedAtAllIsNotLockable) {
  FailForEver(Kind::kPopulate, EINVAL);
  ExpectCause(Pages(102, 3), os::Errno(ENOMEM), Cause::kNotLockable, 102);
}

TEST_F(DiagnosisOnAFake, TellsTheLimitFromAForbiddenLock) {
  fake_.set_lock_limit(os::PageCount(4));
  ExpectCause(Pages(100, 5), os::Errno(ENOMEM), Cause::kLimit);
  fake_.set_lock_limit(os::PageCount(0));
  ExpectCause(Pages(100, 1), os::Errno(EPERM), Cause::kLimitZero);
}

TEST_F(DiagnosisOnAFake, ABadRangeComesBeforeALimit) {
  fake_.set_lock_limit(os::PageCount(1));
  ExpectCause(Pages(108, 5), os::Errno(ENOMEM), Cause::kHole, 110);
}

TEST_F(DiagnosisOnAFake, WhatIsLeftIsAShortageOfMemory) {
  ExpectCause(Pages(100, 10), os::Errno(EAGAIN), Cause::kNoMemory);
  ExpectCause(Pages(100, 10), os::Errno(ENOMEM), Cause::kNoMemory);
}

TEST_F(DiagnosisOnAFake, WithoutProcAHoleAndTheLimitCanStillBeTold) {
  FailForEver(Kind::kMappingAt, ENOENT);
  ExpectCause(Pages(90, 5), os::Errno(ENOMEM), Cause::kHole, 90);
  EXPECT_EQ(FirstUnmapped(faulty_, Pages(90, 5)), os::PageNumber(95));
  fake_.set_lock_limit(os::PageCount(4));
  ExpectCause(Pages(100, 5), os::Errno(ENOMEM), Cause::kLimit);
}

// --- On the kernel ------------------------------------------------------------------------------

class DiagnosisOnTheKernel : public testing::Test {
 protected:
  static constexpr size_t kPages = 8;

  void ExpectCause(const TestMapping& mapping, Cause cause, size_t page) {
    const Failure failure = DiagnoseOn(os::RealMemory(), mapping.all());
    EXPECT_EQ(failure.cause, cause);
    EXPECT_EQ(failure.where, reinterpret_cast<uintptr_t>(mapping.page(page)));
  }
};

TEST_F(DiagnosisOnTheKernel, FindsAHole) {
  TestMapping mapping(kPages);
  EXPECT_EQ(FirstUnmapped(os::RealMemory(), mapping.all()), mapping.all().end());
  mapping.Unmap(5, 1);
  ExpectCause(mapping, Cause::kHole, 5);
}

TEST_F(DiagnosisOnTheKernel, FindsAnInaccessiblePage) {
  TestMapping mapping(kPages);
  mapping.Forbid(3, 2);
  ExpectCause(mapping, Cause::kInaccessible, 3);
}

TEST_F(DiagnosisOnTheKernel, FindsTheEndOfAnUnnamedFile) {
  const os::Result<os::OwnedDescriptor> file = os::CreateUnnamedFile(testing::TempDir());
  ASSERT_TRUE(file.ok());
  for (const size_t pages_in_file : {0u, 1u, 5u, 7u}) {
    ASSERT_EQ(ftruncate(file->get(), static_cast<off_t>(pages_in_file * PageSize())), 0);
    ExpectCause(TestMapping(kPages, file->get()), Cause::kPastEndOfFile, pages_in_file);
  }
}

TEST_F(DiagnosisOnTheKernel, FindsTheEndOfANamedFile) {
  std::string path = testing::TempDir() + "/diagnosis_test.XXXXXX";
  const os::OwnedDescriptor file(mkstemp(path.data()));
  ASSERT_GE(file.get(), 0);
  ASSERT_EQ(ftruncate(file.get(), static_cast<off_t>(2 * PageSize() + 1)), 0);
  ExpectCause(TestMapping(kPages, file.get()), Cause::kPastEndOfFile, 3);
  EXPECT_EQ(unlink(path.c_str()), 0);
}

TEST_F(DiagnosisOnTheKernel, FindsMemoryThatIsNeverLocked) {
  constexpr long kMemfdSecret = 447;  // the system call's number; Debian 12's C library has no name
  const os::OwnedDescriptor file(static_cast<int>(syscall(kMemfdSecret, 0)));
  if (file.get() < 0) GTEST_SKIP() << "memfd_secret: " << os::Errno::Last().Name();
  ASSERT_EQ(ftruncate(file.get(), static_cast<off_t>(kPages * PageSize())), 0);
  ExpectCause(TestMapping(kPages, file.get()), Cause::kNotLockable, 0);
}

TEST_F(DiagnosisOnTheKernel, AnAnswerOfEagainIsAShortageOfMemory) {
  const TestMapping mapping(kPages);
  EXPECT_EQ(DiagnoseOn(os::RealMemory(), mapping.all(), os::Errno(EAGAIN)).cause, Cause::kNoMemory);
}

TEST_F(DiagnosisOnTheKernel, FindsTheEndOfTheAddressSpace) {
  const os::PageRange beyond = Pages((uint64_t{1} << 56) / PageSize(), 1);
  EXPECT_EQ(DiagnoseOn(os::RealMemory(), beyond).cause, Cause::kHole);
}

}  // namespace
}  // namespace pinlock::internal
