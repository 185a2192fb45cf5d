#include "pinlock/locked_mapping.h"

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "os/fault_plan.h"
#include "os/faulty_memory.h"
#include "os/forwarding_memory.h"
#include "pinlock/mpin.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/test_mapping.h"

namespace pinlock::internal {
namespace {

using test_support::LockedBytes;
using test_support::PageSize;

// Remembers what was mapped, and what its bytes were when it was unmapped.
class WatchingMemory final : public os::ForwardingMemory {
 public:
  explicit WatchingMemory(os::Memory& memory) : ForwardingMemory(memory) {}

  os::Result<os::PageRange> Map(os::PageCount count, Access access, Fork fork,
                                os::PageCount alignment) override {
    const os::Result<os::PageRange> pages = ForwardingMemory::Map(count, access, fork, alignment);
    if (pages.ok()) mapped = *pages;
    return pages;
  }
  os::Errno Unmap(os::PageRange pages) override {
    const auto* bytes = static_cast<const unsigned char*>(pages.address(page_size()));
    zeroed = true;
    for (size_t i = 0; i < pages.bytes(page_size()); ++i) zeroed = zeroed && bytes[i] == 0;
    const os::Result<bool> all = AllLocked(pages);
    locked = all.ok() && *all;
    unmapped = pages;
    return ForwardingMemory::Unmap(pages);
  }

  os::PageRange mapped, unmapped;
  bool zeroed = false;
  bool locked = false;
};

// Whether the flags of the mapping at `address` in /proc/self/smaps name `flag`.
bool HasFlag(const void* address, const std::string& flag) {
  std::ifstream smaps("/proc/self/smaps");
  const auto wanted = reinterpret_cast<uintptr_t>(address);
  bool inside = false;
  std::string line;
  while (std::getline(smaps, line)) {
    unsigned long begin = 0, end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) {
      inside = begin <= wanted && wanted < end;
    } else if (inside && line.starts_with("VmFlags:")) {
      return (line + " ").find(" " + flag + " ") != std::string::npos;
    }
  }
  ADD_FAILURE() << "no mapping at " << address;
  return false;
}

TEST(MapLocked, KeepsThePagesOutOfDumpsOnlyWhereAskedFor) {
  for (const bool omit : {false, true}) {
    const absl::StatusOr<os::PageRange> pages =
        MapLocked(os::RealMemory(), {.count = os::PageCount(2), .omit_from_dumps = omit});
    ASSERT_TRUE(pages.ok()) << pages.status();
    EXPECT_EQ(HasFlag(pages->address(PageSize()), "dd"), omit);
    EXPECT_TRUE(HasFlag(pages->address(PageSize()), "lo"));
    EXPECT_TRUE(HasFlag(pages->address(PageSize()), "dc"));
    WipeAndUnmap(os::RealMemory(), *pages, true);
  }
}

TEST(MapLocked, AnyCallThatFailsLeavesNothingBehind) {
  const uint64_t before = LockedBytes();
  os::testing::ForEachFault({.error = os::Errno(ENOMEM)}, [&](os::testing::FaultPlan& plan) {
    WatchingMemory watched(os::RealMemory());
    os::testing::FaultyMemory memory(watched, plan);
    const absl::StatusOr<os::PageRange> pages =
        MapLocked(memory, {.count = os::PageCount(3), .omit_from_dumps = true});
    EXPECT_EQ(pages.ok(), !plan.fired());
    if (pages.ok()) {
      plan.Disarm();
      WipeAndUnmap(memory, *pages, true);
    } else {
      EXPECT_EQ(pages.status().code(), absl::StatusCode::kResourceExhausted);
      EXPECT_NE(std::string(pages.status().message()).find("ENOMEM"), std::string::npos);
    }
    EXPECT_EQ(LockedBytes(), before);
    // Where Unmap itself fails, the test does it.
    if (watched.unmapped != watched.mapped) (void)os::RealMemory().Unmap(watched.mapped);
  });
}

TEST(WipeAndUnmap, ZeroesAndUnlocksBeforeItUnmaps) {
  WatchingMemory memory(os::RealMemory());
  const absl::StatusOr<os::PageRange> pages = MapLocked(memory, {.count = os::PageCount(2)});
  ASSERT_TRUE(pages.ok()) << pages.status();
  std::memset(pages->address(PageSize()), 0x5a, pages->bytes(PageSize()));
  WipeAndUnmap(memory, *pages, true);
  EXPECT_EQ(memory.unmapped, *pages);
  EXPECT_TRUE(memory.zeroed);
  EXPECT_FALSE(memory.locked);
}

TEST(WipeAndUnmap, KeepsTheAddressesWhereAPinIsGone) {
  const absl::StatusOr<os::PageRange> pages =
      MapLocked(os::RealMemory(), {.count = os::PageCount(2)});
  ASSERT_TRUE(pages.ok()) << pages.status();
  auto* const bytes = static_cast<std::byte*>(pages->address(PageSize()));
  bytes[0] = bytes[PageSize()] = std::byte{1};
  ASSERT_EQ(munpin(bytes, PageSize()), 0);  // somebody's mistake
  WipeAndUnmap(os::RealMemory(), *pages, true);
  ASSERT_TRUE(os::RealMemory().CheckMapped(*pages).ok());
  EXPECT_EQ(bytes[0], std::byte{0});
  EXPECT_EQ(bytes[PageSize()], std::byte{0});
  ASSERT_EQ(munpin(bytes + PageSize(), PageSize()), 0);
  EXPECT_TRUE(os::RealMemory().Unmap(*pages).ok());
}

}  // namespace
}  // namespace pinlock::internal
