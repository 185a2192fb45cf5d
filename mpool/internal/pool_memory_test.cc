#include "mpool/internal/pool_memory.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "os/fault_plan.h"
#include "os/faulty_memory.h"
#include "os/forwarding_memory.h"
#include "os/limits.h"
#include "pinlock/mpin.h"
#include "tests/support/child.h"
#include "tests/support/counting_locker.h"
#include "tests/support/kernel_evidence.h"

namespace mpool::internal {
namespace {

using test_support::CountingLocker;
using test_support::LockedBytes;

constexpr size_t kKiB = 1024, kMiB = 1024 * kKiB;

uint64_t PagesPinned() {
  mpin_stat stat{};
  EXPECT_EQ(mpin_get_stat(&stat, sizeof(stat)), 0);
  return stat.pages_locked;
}

// Locks of frames are told from those of headers and the table by their size.
std::vector<size_t> StepsOf(const CountingLocker& locker, uint32_t page_size) {
  std::vector<size_t> steps;
  for (const size_t bytes : locker.locked()) {
    if (bytes % page_size == 0 && bytes >= 64 * kKiB) steps.push_back(bytes / page_size);
  }
  return steps;
}

std::set<FrameIndex> FramesOf(const PoolMemory& memory) {
  std::set<FrameIndex> frames;
  memory.ForEachFrame([&](FrameIndex frame) { EXPECT_TRUE(frames.insert(frame).second); });
  return frames;
}

// Passes everything on to mpin(3), but can refuse to unlock, as munpin() does without memory.
class RefusingLocker final : public Locker {
 public:
  os::Errno Lock(std::span<std::byte> bytes) override { return PinLocker().Lock(bytes); }
  os::Errno Unlock(std::span<std::byte> bytes) override {
    return refuse ? os::Errno(EAGAIN) : PinLocker().Unlock(bytes);
  }
  const char* ErrorText() const override { return PinLocker().ErrorText(); }

  bool refuse = false;
};

TEST(PoolMemory, WhatCannotBeUnlockedStaysLockedAndItsAddressesStayReserved) {
  RefusingLocker locker;
  std::byte* frame = nullptr;
  {
    const auto owned = std::make_unique<PoolMemory>(os::RealMemory(), locker, 4096, 1);
    PoolMemory& memory = *owned;
    ASSERT_EQ(memory.Reserve(), os::kSuccess);
    ASSERT_TRUE(memory.Grow().ok());
    const os::Result<FrameIndex> growth = memory.AddGrowthFrame(/*locked=*/true);
    ASSERT_TRUE(growth.ok());
    frame = memory.frame(*growth);
    locker.refuse = true;
    memory.RemoveGrowthFrame(*growth);
    locker.refuse = false;
    // Handed out again, it is locked, not only counted.
    ASSERT_TRUE(memory.AddGrowthFrame(/*locked=*/true).ok());
    ASSERT_EQ(memory.frame(*growth), frame);
    const os::PageRange page =
        *os::PageRange::Covering(reinterpret_cast<uintptr_t>(frame), 4096, 4096);
    EXPECT_TRUE(test_support::KernelEvidence::Of(page).Locks(page));
  }
  mpin_info info{};
  ASSERT_EQ(mpin_query(frame, 4096, &info), 0);
  EXPECT_EQ(info.count_max, 1u);
  EXPECT_EQ(info.pages_resident, 1u);
  EXPECT_EQ(munpin(frame, 4096), 0);
  const size_t header_and_frame = 2;
  EXPECT_LE(PagesPinned(), header_and_frame);
}

TEST(PoolMemory, GrowsInStepsThatDoubleUpTo2MiBAndThenStay) {
  CountingLocker locker;
  const auto owned = std::make_unique<PoolMemory>(os::RealMemory(), locker, 4096, 2500);
  PoolMemory& memory = *owned;
  ASSERT_EQ(memory.Reserve(), os::kSuccess);
  std::vector<uint64_t> added;
  for (;;) {
    const os::Result<uint64_t> count = memory.Grow();
    ASSERT_TRUE(count.ok());
    if (*count == 0) break;
    added.push_back(*count);
  }
  // 64, 64, 128, 256, 512 KiB, 1 MiB, then 2 MiB, and what is left.
  EXPECT_EQ(added, (std::vector<uint64_t>{16, 16, 32, 64, 128, 256, 512, 512, 512, 452}));
  EXPECT_EQ(memory.frames(), 2500u);
  EXPECT_EQ(memory.growth_frames(), 0u);
  EXPECT_LE(*std::max_element(locker.locked().begin(), locker.locked().end()), 2 * kMiB);
  EXPECT_EQ(memory.table().capacity(), 4096u);
}

TEST(PoolMemory, HalvesAStepThatCannotBeLocked) {
  CountingLocker locker;
  const auto owned = std::make_unique<PoolMemory>(os::RealMemory(), locker, 4096, 100);
  PoolMemory& memory = *owned;
  ASSERT_EQ(memory.Reserve(), os::kSuccess);
  ASSERT_EQ(*memory.Grow(), 16u);
  // Room for five frames and their headers, of a step of 16: 8 are too many, 4 fit, then one.
  locker.set_bytes_max(locker.bytes() + 5 * (4096 + sizeof(FrameHeader)) + 1024);
  EXPECT_EQ(*memory.Grow(), 4u);
  EXPECT_EQ(*memory.Grow(), 1u);
  const size_t bytes = locker.bytes();
  const os::Result<uint64_t> refused = memory.Grow();
  EXPECT_EQ(refused.error(), os::Errno(ENOMEM));
  EXPECT_STREQ(memory.FailureText(), "the test allows no more");
  EXPECT_EQ(memory.frames(), 21u);
  EXPECT_EQ(locker.bytes(), bytes);
  locker.set_bytes_max(100 * kMiB);
  EXPECT_EQ(*memory.Grow(), 21u);  // and goes on where it can
  EXPECT_EQ(FramesOf(memory).size(), 42u);
}

// A machine that has `left` huge pages set aside, which are made of the usual memory.
class MachineWithHugePages final : public os::ForwardingMemory {
 public:
  explicit MachineWithHugePages(uint64_t left)
      : os::ForwardingMemory(os::RealMemory()), left_(left) {}

  os::Errno CommitHugePages(os::PageRange pages) override {
    const uint64_t count = pages.bytes(page_size()) / kHugePageBytes;
    if (count > left_) return os::Errno(ENOMEM);
    left_ -= count;
    return memory().Commit(pages);
  }
  os::Errno DecommitHugePages(os::PageRange pages) override {
    left_ += pages.bytes(page_size()) / kHugePageBytes;
    return memory().Decommit(pages);
  }
  uint64_t left() const { return left_; }

 private:
  uint64_t left_;
};

TEST(PoolMemory, TakesHugePagesThatWereSetAsideAndThenOthers) {
  MachineWithHugePages machine(2);
  CountingLocker locker;
  const auto owned = std::make_unique<PoolMemory>(machine, locker, 4096, 1600, /*hugetlb=*/true);
  PoolMemory& memory = *owned;
  ASSERT_EQ(memory.Reserve(), os::kSuccess);
  EXPECT_EQ(*memory.Grow(), 512u) << "a whole one at once";
  EXPECT_EQ(memory.hugetlb_bytes(), 2 * kMiB);
  EXPECT_EQ(*memory.Grow(), 512u);
  EXPECT_EQ(memory.hugetlb_bytes(), 4 * kMiB);
  EXPECT_EQ(*memory.Grow(), 512u) << "none is left";
  EXPECT_EQ(*memory.Grow(), 64u) << "too few for one";
  EXPECT_EQ(memory.hugetlb_bytes(), 4 * kMiB);
  // Growth frames come and go.
  ASSERT_TRUE(memory.AddGrowthFrame(/*locked=*/true).ok());
  EXPECT_EQ(memory.hugetlb_bytes(), 4 * kMiB);
}

TEST(PoolMemory, GivesAHugePageBackThatCannotBeLockedAndTriesLess) {
  MachineWithHugePages machine(2);
  CountingLocker locker;
  const auto owned = std::make_unique<PoolMemory>(machine, locker, 4096, 1024, /*hugetlb=*/true);
  PoolMemory& memory = *owned;
  ASSERT_EQ(memory.Reserve(), os::kSuccess);
  locker.set_bytes_max(3 * kMiB / 2);
  EXPECT_EQ(*memory.Grow(), 256u);
  EXPECT_EQ(machine.left(), 2u);
  EXPECT_EQ(memory.hugetlb_bytes(), 0u);
  memory.frame(255)[4095] = std::byte{1};
}

TEST(PoolMemory, TakesNoHugePagesThatWereSetAsideUnlessAskedTo) {
  MachineWithHugePages machine(2);
  CountingLocker locker;
  const auto owned = std::make_unique<PoolMemory>(machine, locker, 4096, 1024);
  ASSERT_EQ(owned->Reserve(), os::kSuccess);
  while (*owned->Grow() > 0) continue;
  EXPECT_EQ(machine.left(), 2u);
}

TEST(PoolMemory, GivesBackEveryLockAtItsEnd) {
  const uint64_t pinned = PagesPinned(), locked = LockedBytes();
  {
    CountingLocker locker(&PinLocker());
    const auto owned = std::make_unique<PoolMemory>(os::RealMemory(), locker, 5000, 100);
    PoolMemory& memory = *owned;
    ASSERT_EQ(memory.Reserve(), os::kSuccess);
    EXPECT_EQ(LockedBytes(), locked);
    while (*memory.Grow() > 0) {
    }
    const FrameIndex first = *memory.AddGrowthFrame(true);
    const FrameIndex second = *memory.AddGrowthFrame(true);
    const FrameIndex unlocked = *memory.AddGrowthFrame(false);
    EXPECT_EQ(memory.unlocked_frames(), 1u);
    memory.RemoveGrowthFrame(first);
    EXPECT_NE(second, unlocked);
    EXPECT_GT(PagesPinned(), pinned + 100 * 5000 / 4096);
    EXPECT_EQ(LockedBytes() - locked, (PagesPinned() - pinned) * 4096);
  }
  EXPECT_EQ(PagesPinned(), pinned);
  EXPECT_EQ(LockedBytes(), locked);
}

TEST(PoolMemory, IsLockedAndPresentOnceItIsThere) {
  const auto owned = std::make_unique<PoolMemory>(os::RealMemory(), PinLocker(), 4096, 20);
  PoolMemory& memory = *owned;
  ASSERT_EQ(memory.Reserve(), os::kSuccess);
  ASSERT_TRUE(memory.Grow().ok());
  ASSERT_TRUE(memory.Grow().ok());
  const auto check = [](const void* begin, size_t bytes) {
    const os::PageRange range =
        *os::PageRange::Covering(reinterpret_cast<uintptr_t>(begin), bytes, 4096);
    EXPECT_TRUE(test_support::KernelEvidence::Of(range).Locks(range));
    EXPECT_TRUE(test_support::AllResident(range));
  };
  check(memory.frame(0), memory.frames() * 4096);
  check(memory.headers(), memory.frames() * sizeof(FrameHeader));
  check(memory.table().entries().data(), memory.table().entries().size_bytes());
}

TEST(PoolMemory, GrowthFramesComeOneByOneAndGoBack) {
  CountingLocker locker;
  const auto owned = std::make_unique<PoolMemory>(os::RealMemory(), locker, 4096, 2);
  PoolMemory& memory = *owned;
  ASSERT_EQ(memory.Reserve(), os::kSuccess);
  ASSERT_EQ(*memory.Grow(), 2u);
  ASSERT_EQ(*memory.Grow(), 0u);
  const size_t bytes = locker.bytes();
  const FrameIndex first = *memory.AddGrowthFrame(true);
  const FrameIndex second = *memory.AddGrowthFrame(true);
  EXPECT_TRUE(memory.IsGrowthFrame(first));
  EXPECT_FALSE(memory.IsGrowthFrame(1));
  EXPECT_EQ(memory.frames(), 4u);
  EXPECT_EQ(memory.growth_frames(), 2u);
  EXPECT_EQ(FramesOf(memory), (std::set<FrameIndex>{0, 1, first, second}));
  EXPECT_EQ(memory.headers()[first].state, FrameState::kFree);
  memory.frame(first)[4095] = std::byte{1};

  memory.RemoveGrowthFrame(first);
  EXPECT_EQ(FramesOf(memory), (std::set<FrameIndex>{0, 1, second}));
  EXPECT_EQ(memory.FrameAt(memory.frame(first)), kNoFrame);
  EXPECT_EQ(*memory.AddGrowthFrame(true), first);  // the lowest that is absent
  memory.RemoveGrowthFrame(second);
  memory.RemoveGrowthFrame(first);
  EXPECT_EQ(memory.growth_frames(), 0u);
  // The table may have grown, and stays.
  EXPECT_LE(locker.bytes(), bytes + memory.table().entries().size_bytes());
}

TEST(PoolMemory, AGrowthFrameThatCannotBeLockedChangesNothing) {
  CountingLocker locker;
  const auto owned = std::make_unique<PoolMemory>(os::RealMemory(), locker, 4096, 1);
  PoolMemory& memory = *owned;
  ASSERT_EQ(memory.Reserve(), os::kSuccess);
  ASSERT_EQ(*memory.Grow(), 1u);
  ASSERT_TRUE(memory.AddGrowthFrame(true).ok());
  locker.set_bytes_max(locker.bytes() + 4095);
  // The table may grow, and stays.
  const auto bytes = [&] { return locker.bytes() - memory.table().entries().size_bytes(); };
  const size_t before = bytes();
  EXPECT_EQ(memory.AddGrowthFrame(true).error(), os::Errno(ENOMEM));
  const os::PageNumber refused(reinterpret_cast<uintptr_t>(memory.frame(2)) / 4096);
  EXPECT_FALSE((*os::RealMemory().MappingAt(refused))->accessible());  // it costs no memory
  EXPECT_EQ(memory.growth_frames(), 1u);
  EXPECT_EQ(bytes(), before);
  const os::Result<FrameIndex> unlocked = memory.AddGrowthFrame(false);
  ASSERT_TRUE(unlocked.ok());
  EXPECT_TRUE(memory.headers()[*unlocked].unlocked);
  EXPECT_EQ(memory.unlocked_frames(), 1u);
  memory.frame(*unlocked)[0] = std::byte{1};
  memory.RemoveGrowthFrame(*unlocked);
  EXPECT_EQ(memory.unlocked_frames(), 0u);
}

TEST(PoolMemory, KnowsTheAddressesOfItsFramesOnly) {
  CountingLocker locker;
  const auto owned = std::make_unique<PoolMemory>(os::RealMemory(), locker, 1000, 4);
  PoolMemory& memory = *owned;
  ASSERT_EQ(memory.Reserve(), os::kSuccess);
  ASSERT_EQ(*memory.Grow(), 4u);
  const FrameIndex growth = *memory.AddGrowthFrame(true);
  for (const FrameIndex frame : {0u, 3u, growth}) {
    EXPECT_EQ(memory.FrameAt(memory.frame(frame)), frame);
    EXPECT_EQ(memory.FrameAt(memory.frame(frame) + 1), kNoFrame);
    EXPECT_EQ(memory.FrameAt(memory.frame(frame) + 999), kNoFrame);
  }
  EXPECT_EQ(memory.FrameAt(memory.frame(growth + 1)), kNoFrame);
  EXPECT_EQ(memory.FrameAt(memory.frame(0) - 1008), kNoFrame);
  EXPECT_EQ(memory.FrameAt(nullptr), kNoFrame);
  EXPECT_EQ(memory.FrameAt(reinterpret_cast<void*>(~uintptr_t{0})), kNoFrame);
  EXPECT_EQ(memory.FrameAt(&memory), kNoFrame);
}

TEST(PoolMemory, ThereAreNoFramesBeforeItGrows) {
  CountingLocker locker;
  const auto owned = std::make_unique<PoolMemory>(os::RealMemory(), locker, 4096, 4);
  PoolMemory& memory = *owned;
  ASSERT_EQ(memory.Reserve(), os::kSuccess);
  EXPECT_EQ(memory.frames(), 0u);
  EXPECT_EQ(memory.FrameAt(memory.frame(0)), kNoFrame);
  EXPECT_EQ(memory.table().capacity(), 0u);
}

class PoolMemoryPageSize : public testing::TestWithParam<uint32_t> {};

// Frames of any size lie apart and aligned, ordinary and growth frames alike.
TEST_P(PoolMemoryPageSize, FramesDoNotOverlap) {
  const uint32_t size = GetParam();
  CountingLocker locker;
  const auto owned = std::make_unique<PoolMemory>(os::RealMemory(), locker, size, 5);
  PoolMemory& memory = *owned;
  ASSERT_EQ(memory.Reserve(), os::kSuccess);
  uint64_t added = 0;
  while (memory.frames() < 5) {
    const os::Result<uint64_t> count = memory.Grow();
    ASSERT_TRUE(count.ok());
    added += *count;
  }
  EXPECT_EQ(added, 5u);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(memory.AddGrowthFrame(true).ok());
  memory.RemoveGrowthFrame(6);
  const std::set<FrameIndex> frames = FramesOf(memory);
  EXPECT_EQ(frames, (std::set<FrameIndex>{0, 1, 2, 3, 4, 5, 7}));
  for (const FrameIndex frame : frames) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory.frame(frame)) % alignof(std::max_align_t), 0u);
    memory.frame(frame)[0] = static_cast<std::byte>(frame);
    memory.frame(frame)[size - 1] = static_cast<std::byte>(frame);
  }
  for (const FrameIndex frame : frames) {
    EXPECT_EQ(memory.frame(frame)[0], static_cast<std::byte>(frame));
    EXPECT_EQ(memory.frame(frame)[size - 1], static_cast<std::byte>(frame));
  }
  ASSERT_EQ(*memory.AddGrowthFrame(true), 6u);
  memory.frame(6)[size - 1] = std::byte{6};
  EXPECT_EQ(memory.frame(5)[size - 1], std::byte{5});
  EXPECT_EQ(memory.frame(7)[0], std::byte{7});
}

INSTANTIATE_TEST_SUITE_P(Odd, PoolMemoryPageSize,
                         testing::Values(1, 3, 512, 1000, 4096, 5000, 65536, 3 * kMiB, 16 * kMiB),
                         [](const auto& size) { return std::to_string(size.param); });

TEST(PoolMemory, AStepIsOneFrameWhereThatIsLargerThan2MiB) {
  CountingLocker locker;
  const auto owned = std::make_unique<PoolMemory>(os::RealMemory(), locker, 3 * kMiB, 10);
  PoolMemory& memory = *owned;
  ASSERT_EQ(memory.Reserve(), os::kSuccess);
  EXPECT_EQ(*memory.Grow(), 1u);
  EXPECT_EQ(*memory.Grow(), 1u);
  EXPECT_EQ(StepsOf(locker, 3 * kMiB), (std::vector<size_t>{1, 1}));
}

TEST(PoolMemory, HasNoMoreOrdinaryFramesThanTheMachineCouldHold) {
  CountingLocker locker;
  const auto owned = std::make_unique<PoolMemory>(os::RealMemory(), locker, 64 * kKiB, 0xffffffff);
  PoolMemory& memory = *owned;
  ASSERT_EQ(memory.Reserve(), os::kSuccess);
  EXPECT_LE(memory.ordinary_max(), os::PhysicalMemoryBytes() / (64 * kKiB) + 1);
  EXPECT_TRUE(memory.Grow().ok());
}

// VmSize of this process.
size_t AddressSpaceBytes() {
  unsigned long pages = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  EXPECT_NE(file, nullptr);
  EXPECT_EQ(std::fscanf(file, "%lu", &pages), 1);
  std::fclose(file);
  return pages * 4096;
}

TEST(PoolMemory, MakesDoWithLittleAddressSpaceAndLeavesHalfOfIt) {
  test_support::RunInChild([] {
    const size_t room = 256 * kMiB;
    const rlim_t bytes = AddressSpaceBytes() + room;
    const rlimit limit{bytes, bytes};
    ASSERT_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    CountingLocker locker;
    const auto owned = std::make_unique<PoolMemory>(os::RealMemory(), locker, 4096, 1'000'000);
    PoolMemory& memory = *owned;
    ASSERT_EQ(memory.Reserve(), os::kSuccess);
    EXPECT_GE(memory.ordinary_max(), room / 16 / 4096);
    EXPECT_TRUE(memory.Grow().ok());
    EXPECT_TRUE(memory.AddGrowthFrame(true).ok());
    void* const mine = mmap(nullptr, room / 4, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(mine, MAP_FAILED);
  });
}

TEST(PoolMemory, FailsCleanlyWithoutAddressSpace) {
  test_support::RunInChild([] {
    const rlim_t bytes = AddressSpaceBytes() + 8 * kMiB;
    const rlimit limit{bytes, bytes};
    ASSERT_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    CountingLocker locker;
    const auto owned = std::make_unique<PoolMemory>(os::RealMemory(), locker, 16 * kMiB, 4);
    PoolMemory& memory = *owned;
    EXPECT_EQ(memory.Reserve(), os::Errno(ENOMEM));
  });
}

TEST(PoolMemory, MemoryThatCannotBeHadIsAnotherErrorThanTheLockLimit) {
  os::testing::FaultPlan plan;
  os::testing::FaultyMemory faulty(os::RealMemory(), plan);
  CountingLocker locker;
  const auto owned = std::make_unique<PoolMemory>(faulty, locker, 4096, 16);
  PoolMemory& memory = *owned;
  ASSERT_EQ(memory.Reserve(), os::kSuccess);
  plan.Arm(
      {.error = os::Errno(ENOMEM), .forever = true, .kind = os::testing::FaultPlan::Kind::kCommit});
  EXPECT_EQ(memory.Grow().error(), os::Errno(EAGAIN));
  EXPECT_NE(std::string(memory.FailureText()).find("vm.max_map_count"), std::string::npos);
  EXPECT_EQ(locker.bytes(), 0u);
  plan.Disarm();
  EXPECT_EQ(*memory.Grow(), 16u);
}

}  // namespace
}  // namespace mpool::internal
