// mpin(3), sentence by sentence, on the kernel: what succeeds. Failures are in mpin_errors_test.cc.

#include "pinlock/mpin.h"

#include <cerrno>
#include <cstring>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "tests/support/child.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/test_mapping.h"

namespace {

using test_support::AllResident;
using test_support::KernelEvidence;
using test_support::LockedBytes;
using test_support::PageSize;
using test_support::TestMapping;

int Pin(const TestMapping& mapping, size_t first, size_t count) {
  return mpin(mapping.page(first), count * PageSize());
}

int Unpin(const TestMapping& mapping, size_t first, size_t count) {
  return munpin(mapping.page(first), count * PageSize());
}

mpin_info Query(const TestMapping& mapping, size_t first, size_t count) {
  mpin_info info{};
  EXPECT_EQ(mpin_query(mapping.page(first), count * PageSize(), &info), 0) << mpin_error();
  return info;
}

mpin_stat Stat() {
  mpin_stat stat{};
  EXPECT_EQ(mpin_get_stat(&stat, sizeof(stat)), 0);
  return stat;
}

bool Locks(const TestMapping& mapping, size_t first, size_t count) {
  return KernelEvidence::Of(mapping.all()).Locks(mapping.range(first, count));
}

// --- mpin ---------------------------------------------------------------------------------------

TEST(Mpin, LocksThePagesThatHoldAnyByteOfTheRange) {
  TestMapping mapping(4);
  const uint64_t before = LockedBytes();
  ASSERT_EQ(mpin(mapping.page(2) - 1, 2), 0);  // the last byte of page 1 and the first of page 2
  EXPECT_TRUE(Locks(mapping, 1, 2));
  EXPECT_EQ(LockedBytes(), before + 2 * PageSize());
  ASSERT_EQ(munpin(mapping.page(2) - 1, 2), 0);
}

TEST(Mpin, LocksNoPageBesides) {
  TestMapping mapping(3);
  ASSERT_EQ(mpin(mapping.page(1), PageSize()), 0);
  EXPECT_TRUE(Locks(mapping, 1, 1));
  ASSERT_EQ(munpin(mapping.page(1), PageSize()), 0);
}

TEST(Mpin, MakesThePagesResident) {
  TestMapping mapping(16);
  EXPECT_EQ(Query(mapping, 0, 16).pages_resident, 0u);
  ASSERT_EQ(Pin(mapping, 4, 8), 0);
  EXPECT_TRUE(AllResident(mapping.range(4, 8)));
  EXPECT_EQ(Query(mapping, 0, 16).pages_resident, 8u);
  ASSERT_EQ(Unpin(mapping, 4, 8), 0);
}

TEST(Mpin, Adds1ToTheCounterOfEachPage) {
  TestMapping mapping(3);
  for (uint64_t count = 1; count <= 3; ++count) {
    ASSERT_EQ(Pin(mapping, 0, 3), 0);
    EXPECT_EQ(Query(mapping, 0, 3).count_min, count);
    EXPECT_EQ(Query(mapping, 0, 3).count_max, count);
  }
  for (int i = 0; i < 3; ++i) ASSERT_EQ(Unpin(mapping, 0, 3), 0);
}

TEST(Mpin, Length0DoesNothing) {
  TestMapping mapping(1);
  const KernelEvidence before = KernelEvidence::Of(mapping.all());
  EXPECT_EQ(mpin(mapping.page(0), 0), 0);
  EXPECT_EQ(mpin(nullptr, 0), 0);
  EXPECT_EQ(mpin(reinterpret_cast<void*>(UINTPTR_MAX), 0), 0);
  EXPECT_EQ(munpin(nullptr, 0), 0);
  EXPECT_EQ(KernelEvidence::Of(mapping.all()), before);
  EXPECT_EQ(Query(mapping, 0, 1).count_max, 0u);
}

TEST(Mpin, EntersTheKernelOnlyForPagesWhoseCounterIs0) {
  TestMapping mapping(8);
  ASSERT_EQ(Pin(mapping, 2, 2), 0);
  const mpin_stat first = Stat();
  ASSERT_EQ(Pin(mapping, 2, 2), 0);
  ASSERT_EQ(Unpin(mapping, 2, 2), 0);
  EXPECT_EQ(Stat().kernel_locks, first.kernel_locks);
  EXPECT_EQ(Stat().kernel_unlocks, first.kernel_unlocks);
  ASSERT_EQ(Pin(mapping, 0, 8), 0);  // the two runs beside the pages that are pinned
  EXPECT_EQ(Stat().kernel_locks, first.kernel_locks + 2);
  ASSERT_EQ(Unpin(mapping, 0, 8), 0);
  ASSERT_EQ(Unpin(mapping, 2, 2), 0);
}

TEST(Mpin, ChargesAPageOnceHoweverOftenItIsPinned) {
  TestMapping mapping(4);
  const uint64_t before = LockedBytes();
  ASSERT_EQ(Pin(mapping, 0, 3), 0);
  ASSERT_EQ(Pin(mapping, 1, 3), 0);
  EXPECT_EQ(LockedBytes(), before + 4 * PageSize());
  ASSERT_EQ(Unpin(mapping, 1, 3), 0);
  ASSERT_EQ(Unpin(mapping, 0, 3), 0);
  EXPECT_EQ(LockedBytes(), before);
}

TEST(Mpin, PinsReadOnlyMappings) {
  static const char text[] = "in the program's read-only data";
  EXPECT_EQ(mpin(const_cast<char*>(text), sizeof(text)), 0) << mpin_error();
  EXPECT_EQ(munpin(const_cast<char*>(text), sizeof(text)), 0);
}

TEST(Mpin, PinsLargeRanges) {
  constexpr size_t kPages = 1500;  // over several leaves of the counters' tree, 6 MiB
  TestMapping mapping(kPages);
  const uint64_t before = LockedBytes();
  ASSERT_EQ(Pin(mapping, 0, kPages), 0) << mpin_error();
  ASSERT_EQ(Pin(mapping, 600, 1), 0);
  EXPECT_EQ(LockedBytes(), before + kPages * PageSize());
  ASSERT_EQ(Unpin(mapping, 0, kPages), 0);
  EXPECT_TRUE(Locks(mapping, 600, 1));
  ASSERT_EQ(Unpin(mapping, 600, 1), 0);
  EXPECT_EQ(LockedBytes(), before);
}

// --- munpin -------------------------------------------------------------------------------------

TEST(Munpin, Takes1FromTheCounterOfEachPage) {
  TestMapping mapping(2);
  ASSERT_EQ(Pin(mapping, 0, 2), 0);
  ASSERT_EQ(Pin(mapping, 0, 2), 0);
  ASSERT_EQ(Unpin(mapping, 1, 1), 0);
  EXPECT_EQ(Query(mapping, 0, 2).count_max, 2u);
  EXPECT_EQ(Query(mapping, 0, 2).count_min, 1u);
  ASSERT_EQ(Unpin(mapping, 0, 2), 0);
  ASSERT_EQ(Unpin(mapping, 0, 1), 0);
}

TEST(Munpin, UnlocksThePagesWhoseCounterGetsTo0) {
  TestMapping mapping(6);
  ASSERT_EQ(Pin(mapping, 0, 4), 0);
  ASSERT_EQ(Pin(mapping, 2, 4), 0);
  ASSERT_EQ(Unpin(mapping, 0, 4), 0);
  EXPECT_TRUE(Locks(mapping, 2, 4));
  ASSERT_EQ(Unpin(mapping, 2, 4), 0);
  EXPECT_TRUE(Locks(mapping, 0, 0));
}

TEST(Munpin, KeepsAPageLockedUntilItWasUnpinnedAsOftenAsPinned) {
  TestMapping mapping(1);
  for (int i = 0; i < 5; ++i) ASSERT_EQ(Pin(mapping, 0, 1), 0);
  for (int i = 0; i < 4; ++i) {
    ASSERT_EQ(Unpin(mapping, 0, 1), 0);
    EXPECT_TRUE(Locks(mapping, 0, 1));
  }
  ASSERT_EQ(Unpin(mapping, 0, 1), 0);
  EXPECT_TRUE(Locks(mapping, 0, 0));
}

TEST(Munpin, MayTakeAnotherRangeThanMpin) {
  TestMapping mapping(4);
  ASSERT_EQ(Pin(mapping, 0, 2), 0);
  ASSERT_EQ(Pin(mapping, 2, 2), 0);
  ASSERT_EQ(Unpin(mapping, 1, 2), 0);
  EXPECT_EQ(KernelEvidence::Of(mapping.all()).locked.size(), 2u);
  ASSERT_EQ(Unpin(mapping, 0, 1), 0);
  ASSERT_EQ(Unpin(mapping, 3, 1), 0);
}

// --- mpin_query ---------------------------------------------------------------------------------

TEST(MpinQuery, TellsPagesCountersAndResidency) {
  TestMapping mapping(10);
  std::memset(mapping.page(0), 1, PageSize());
  ASSERT_EQ(Pin(mapping, 4, 3), 0);
  ASSERT_EQ(Pin(mapping, 5, 1), 0);
  const mpin_info info = Query(mapping, 0, 10);
  EXPECT_EQ(info.pages, 10u);
  EXPECT_EQ(info.pages_locked, 3u);
  EXPECT_EQ(info.pages_resident, 4u);
  EXPECT_EQ(info.count_min, 0u);
  EXPECT_EQ(info.count_max, 2u);
  ASSERT_EQ(Unpin(mapping, 5, 1), 0);
  ASSERT_EQ(Unpin(mapping, 4, 3), 0);
}

TEST(MpinQuery, CountsThePagesThatHoldAnyByte) {
  TestMapping mapping(3);
  mpin_info info;
  ASSERT_EQ(mpin_query(mapping.page(1) - 1, PageSize() + 2, &info), 0);
  EXPECT_EQ(info.pages, 3u);
}

TEST(MpinQuery, Length0IsNoPage) {
  mpin_info info;
  ASSERT_EQ(mpin_query(nullptr, 0, &info), 0);
  EXPECT_EQ(info.pages, 0u);
  EXPECT_EQ(info.count_min, 0u);
  EXPECT_EQ(info.count_max, 0u);
}

TEST(MpinQuery, AnUnmappedPageIsNeitherPinnedNorResident) {
  TestMapping mapping(3);
  mapping.Unmap(1, 1);
  EXPECT_EQ(Query(mapping, 0, 3).pages, 3u);
  EXPECT_EQ(Query(mapping, 0, 3).pages_resident, 0u);
}

// --- mpin_get_stat ------------------------------------------------------------------------------

TEST(MpinGetStat, CountsPagesCallsAndKernelCalls) {
  TestMapping mapping(4);
  const mpin_stat before = Stat();
  ASSERT_EQ(Pin(mapping, 0, 4), 0);
  ASSERT_EQ(Pin(mapping, 0, 4), 0);
  EXPECT_EQ(Stat().pages_locked, before.pages_locked + 4);
  EXPECT_EQ(mpin(mapping.page(0), SIZE_MAX), -1);
  ASSERT_EQ(Unpin(mapping, 0, 4), 0);
  ASSERT_EQ(Unpin(mapping, 0, 4), 0);
  EXPECT_EQ(Unpin(mapping, 0, 4), -1);
  const mpin_stat after = Stat();
  EXPECT_EQ(after.pages_locked, before.pages_locked);
  EXPECT_EQ(after.pages_residual, before.pages_residual);
  EXPECT_EQ(after.pins, before.pins + 2);
  EXPECT_EQ(after.unpins, before.unpins + 2);
  EXPECT_EQ(after.kernel_locks, before.kernel_locks + 1);
  EXPECT_EQ(after.kernel_unlocks, before.kernel_unlocks + 1);
  EXPECT_EQ(after.failures, before.failures + 2);
}

TEST(MpinGetStat, CopiesTheFirstSizeBytes) {
  mpin_stat stat;
  std::memset(&stat, 0x5a, sizeof(stat));
  ASSERT_EQ(mpin_get_stat(&stat, 2 * sizeof(uint64_t)), 0);
  EXPECT_EQ(stat.pages_locked, Stat().pages_locked);
  EXPECT_EQ(stat.pages_residual, 0u);
  EXPECT_EQ(stat.pins, 0x5a5a5a5a5a5a5a5au);
  ASSERT_EQ(mpin_get_stat(&stat, 0), 0);
  EXPECT_EQ(stat.pins, 0x5a5a5a5a5a5a5a5au);
}

TEST(MpinGetStat, SetsWhatItDoesNotKnowTo0) {
  struct {
    mpin_stat known;
    uint64_t unknown[2];
    uint64_t beyond;
  } stat;
  std::memset(&stat, 0x5a, sizeof(stat));
  ASSERT_EQ(mpin_get_stat(&stat.known, sizeof(stat.known) + sizeof(stat.unknown)), 0);
  EXPECT_EQ(stat.known.pins, Stat().pins);
  EXPECT_EQ(stat.unknown[0], 0u);
  EXPECT_EQ(stat.unknown[1], 0u);
  EXPECT_EQ(stat.beyond, 0x5a5a5a5a5a5a5a5au);
}

// --- mpin_error ---------------------------------------------------------------------------------

TEST(MpinError, IsEmptyBeforeTheFirstFailureOfAThread) {
  EXPECT_EQ(munpin(nullptr, 1), -1);
  EXPECT_STRNE(mpin_error(), "");
  std::string text = "?";
  std::thread([&text] { text = mpin_error(); }).join();
  EXPECT_EQ(text, "");
}

TEST(MpinError, IsOneLineAboutThisThreadsLastFailure) {
  EXPECT_EQ(munpin(reinterpret_cast<void*>(0x1234), 7), -1);
  const std::string text = mpin_error();
  EXPECT_TRUE(text.starts_with("munpin of 7 bytes at 0x1234: ")) << text;
  EXPECT_NE(text.find("not pinned"), std::string::npos) << text;
  EXPECT_EQ(text.find('\n'), std::string::npos) << text;
  std::thread([] { EXPECT_EQ(mpin(nullptr, SIZE_MAX), -1); }).join();
  EXPECT_EQ(mpin_error(), text);
}

}  // namespace
