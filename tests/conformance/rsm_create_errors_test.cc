// rsm_memseg_export_create(3), sentence by sentence: what fails, in which order, and that nothing has
// changed then.

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <bitset>
#include <csignal>
#include <cstdlib>
#include <string>

#include "gtest/gtest.h"
#include "rsm/rsmapi.h"
#include "tests/support/child.h"
#include "tests/support/forbid_syscalls.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/other_thread.h"
#include "tests/support/shared_memory.h"
#include "tests/support/test_file.h"
#include "tests/support/test_mapping.h"
#include "tests/support/test_segment.h"

namespace {

using test_support::CountDescriptors;
using test_support::DescriptorHog;
using test_support::Export;
using test_support::FailsWith;
using test_support::FillPages;
using test_support::Get;
using test_support::KernelEvidence;
using test_support::Limited;
using test_support::LockedBytes;
using test_support::MapInstead;
using test_support::MemoryFile;
using test_support::MemoryState;
using test_support::PageSize;
using test_support::RunInChild;
using test_support::SysVSegment;
using test_support::TestFile;
using test_support::TestMapping;

class RsmCreateFails : public test_support::RsmTest {
 protected:
  int TryToCreate(void* address, size_t bytes) const {
    rsm_memseg_export_handle_t segment = nullptr;
    const int result = rsm_memseg_export_create(controller(), &segment, address, bytes, 0);
    EXPECT_EQ(segment, nullptr) << "it is not written to";
    return result;
  }

  // Expects that these pages cannot be exported, and that nothing has changed then.
  void ExpectRefused(const TestMapping& mapping, size_t pages, int code,
                     const std::string& words) const {
    const MemoryState before = MemoryState::Of(mapping, 0, pages);
    EXPECT_TRUE(FailsWith(code, TryToCreate(mapping.page(0), pages * PageSize()), words));
    EXPECT_EQ(MemoryState::Of(mapping, 0, pages), before);
  }

  size_t BytesMax() const {
    rsmapi_controller_attr_t attributes = {};
    EXPECT_EQ(rsm_get_controller_attr(controller(), &attributes), RSM_SUCCESS);
    return attributes.attr_max_export_segment_size;
  }
};

// --- The rows of the table, and their order -----------------------------------------------------

TEST_F(RsmCreateFails, WithBadCtlrHndlWhereTheControllerIsNull) {
  const TestMapping mapping(1);
  rsm_memseg_export_handle_t segment = nullptr;
  EXPECT_TRUE(FailsWith(RSMERR_BAD_CTLR_HNDL,
                        rsm_memseg_export_create(nullptr, &segment, mapping.page(0), PageSize(), 0),
                        "is no controller; rsm_get_controller gives one"));
}

TEST_F(RsmCreateFails, WithBadCtlrHndlWhereTheControllerIsReleased) {
  const TestMapping mapping(1);
  rsmapi_controller_handle_t released = nullptr;
  ASSERT_EQ(rsm_get_controller(nullptr, &released), RSM_SUCCESS);
  ASSERT_EQ(rsm_release_controller(released), RSM_SUCCESS);
  rsm_memseg_export_handle_t segment = nullptr;
  EXPECT_TRUE(
      FailsWith(RSMERR_BAD_CTLR_HNDL,
                rsm_memseg_export_create(released, &segment, mapping.page(0), PageSize(), 0)));
  EXPECT_EQ(segment, nullptr);
}

TEST_F(RsmCreateFails, WithBadCtlrHndlWhereTheControllerIsAHandleOfAnotherKind) {
  const TestMapping mapping(1);
  const Export other = Create(mapping, 1);
  rsm_memseg_export_handle_t segment = nullptr;
  EXPECT_TRUE(
      FailsWith(RSMERR_BAD_CTLR_HNDL,
                rsm_memseg_export_create(reinterpret_cast<rsmapi_controller_handle_t>(other.get()),
                                         &segment, mapping.page(0), PageSize(), 0)));
}

TEST_F(RsmCreateFails, WithTheFirstCauseOfTheTableWhereSeveralApply) {
  struct Row {
    int code;
    const char* words;
  };
  constexpr std::array<Row, 7> kRows = {{{RSMERR_BAD_CTLR_HNDL, "is no controller"},
                                         {RSMERR_BAD_SEG_HNDL, "no place for the segment's handle"},
                                         {RSMERR_BAD_ADDR, "at NULL"},
                                         {RSMERR_BAD_LENGTH, "of 0 bytes"},
                                         {RSMERR_BAD_MEM_ALIGNMENT, "at multiples of"},
                                         {RSMERR_BAD_LENGTH, "at most"},
                                         {RSMERR_BAD_ADDR, "nothing is mapped"}}};
  TestMapping mapping(3);
  mapping.Unmap(1, 1);
  for (unsigned causes = 1; causes < 1u << kRows.size(); ++causes) {
    const auto has = [causes](unsigned row) { return (causes >> (row - 1) & 1) != 0; };
    if (has(4) && has(6)) continue;  // no length is both
    std::byte* address = mapping.page(has(7) ? 1 : 0) + (has(5) ? 1 : 0);
    if (has(3)) address = nullptr;
    size_t bytes = has(6) ? BytesMax() + PageSize() : PageSize();
    if (has(5)) ++bytes;
    if (has(4)) bytes = 0;
    rsm_memseg_export_handle_t segment = nullptr;
    const Row& first = kRows[static_cast<size_t>(std::countr_zero(causes))];
    EXPECT_TRUE(FailsWith(first.code,
                          rsm_memseg_export_create(has(1) ? nullptr : controller(),
                                                   has(2) ? nullptr : &segment, address, bytes, 0),
                          first.words))
        << "rows, from the last: " << std::bitset<7>(causes);
    EXPECT_EQ(segment, nullptr);
  }
}

TEST_F(RsmCreateFails, WithBadMemAlignmentWhereTheAddressOrTheLengthIsNotOfPages) {
  const TestMapping mapping(3);
  const MemoryState before = MemoryState::Of(mapping, 0, 3);
  for (const size_t shift : {size_t{1}, size_t{8}, PageSize() - 1}) {
    EXPECT_TRUE(
        FailsWith(RSMERR_BAD_MEM_ALIGNMENT, TryToCreate(mapping.page(0) + shift, PageSize())));
    EXPECT_TRUE(
        FailsWith(RSMERR_BAD_MEM_ALIGNMENT, TryToCreate(mapping.page(0), PageSize() + shift)));
  }
  EXPECT_TRUE(FailsWith(RSMERR_BAD_MEM_ALIGNMENT, TryToCreate(mapping.page(0), 1)));
  EXPECT_EQ(MemoryState::Of(mapping, 0, 3), before);
}

TEST_F(RsmCreateFails, WithBadLengthBeyondTheControllersMaximum) {
  const TestMapping mapping(1);
  EXPECT_TRUE(FailsWith(RSMERR_BAD_LENGTH, TryToCreate(mapping.page(0), BytesMax() + PageSize())));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR, TryToCreate(mapping.page(0), BytesMax())))
      << "so much is possible, if it is mapped";
  EXPECT_TRUE(
      FailsWith(RSMERR_BAD_LENGTH, TryToCreate(mapping.page(0), SIZE_MAX - PageSize() + 1)));
}

TEST_F(RsmCreateFails, WithBadAddrWhereAPageIsNotMapped) {
  for (const size_t hole : {0u, 2u, 3u}) {
    TestMapping mapping(4);
    mapping.Unmap(hole, 1);
    const KernelEvidence before = KernelEvidence::Of(mapping.all());
    EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR, TryToCreate(mapping.page(0), 4 * PageSize()),
                          "nothing is mapped at"));
    EXPECT_EQ(KernelEvidence::Of(mapping.all()), before);
  }
}

TEST_F(RsmCreateFails, WithBadAddrWhereAPageIsMappedProtNone) {
  TestMapping mapping(4);
  mapping.Forbid(2, 1);
  EXPECT_TRUE(
      FailsWith(RSMERR_BAD_ADDR, TryToCreate(mapping.page(0), 4 * PageSize()), "PROT_NONE"));
  mapping.Allow(2, 1);
  const Export segment = Create(mapping, 4);
}

TEST_F(RsmCreateFails, WithPermDeniedWhereAPageIsMappedReadOnly) {
  const TestMapping mapping(4);
  FillPages(mapping, 4, "page ");
  ASSERT_EQ(mprotect(mapping.page(2), PageSize(), PROT_READ), 0);
  ExpectRefused(mapping, 4, RSMERR_PERM_DENIED, "is not mapped for reading and writing");
}

TEST_F(RsmCreateFails, WithPermDeniedWhereSharedMemoryIsMappedReadOnly) {
  const os::OwnedDescriptor file = MemoryFile(2);
  const TestMapping mapping(2);
  MapInstead(mapping, 2, file.get(), MAP_SHARED, PROT_READ);
  ExpectRefused(mapping, 2, RSMERR_PERM_DENIED, "is not mapped for reading and writing");
  const SysVSegment memory(1, SHM_RDONLY);
  EXPECT_TRUE(FailsWith(RSMERR_PERM_DENIED, TryToCreate(memory.page(0), PageSize())));
}

// --- Memory that cannot be exported -------------------------------------------------------------

TEST_F(RsmCreateFails, WithBadAddrOnASharedMappingOfAFile) {
  const TestFile file(2, static_cast<uint32_t>(PageSize()));
  const TestMapping mapping(2, file.fd());
  ExpectRefused(mapping, 2, RSMERR_BAD_ADDR, "a file must be mapped MAP_PRIVATE");
}

TEST_F(RsmCreateFails, WithBadAddrOnSharedMemoryOfNoFile) {
  const TestMapping mapping(2);
  MapInstead(mapping, 2, -1, MAP_SHARED | MAP_ANONYMOUS);
  ExpectRefused(mapping, 2, RSMERR_BAD_ADDR, "is a shared mapping of");
}

TEST_F(RsmCreateFails, WithBadAddrOnMemoryOfMemfdCreateThatHasNoOpenDescriptor) {
  os::OwnedDescriptor file = MemoryFile(2);
  const TestMapping mapping(2, file.get());
  file = os::OwnedDescriptor();
  ExpectRefused(mapping, 2, RSMERR_BAD_ADDR, "keep that of memfd_create(2) open");
}

TEST_F(RsmCreateFails, WithBadAddrOnAMixtureOfMemory) {
  const os::OwnedDescriptor file = MemoryFile(2), other = MemoryFile(2);
  const TestMapping mapping(3);
  MapInstead(mapping, 2, file.get(), MAP_SHARED);
  ExpectRefused(mapping, 3, RSMERR_BAD_ADDR, "of another kind, or another object");
  MapInstead(mapping, 1, other.get(), MAP_SHARED);
  ExpectRefused(mapping, 2, RSMERR_BAD_ADDR, "of another kind, or another object");
}

TEST_F(RsmCreateFails, WithBadAddrWherePartOfTheMemoryIsExported) {
  const TestMapping mapping(4);
  FillPages(mapping, 4, "page ");
  const Export segment = CreateAt(mapping.page(1), 2 * PageSize());
  ExpectRefused(mapping, 4, RSMERR_BAD_ADDR, "of another kind, or another object");
  ExpectRefused(mapping, 2, RSMERR_BAD_ADDR, "of another kind, or another object");
}

TEST_F(RsmCreateFails, WithBadAddrOnThePageWhereAFileHasEnded) {
  const TestFile file(1, static_cast<uint32_t>(PageSize()));
  const TestMapping mapping(2);
  MapInstead(mapping, 2, file.fd(), MAP_PRIVATE);
  const KernelEvidence before = KernelEvidence::Of(mapping.all());
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR, TryToCreate(mapping.page(0), 2 * PageSize()),
                        "past the end of its file"));
  EXPECT_EQ(KernelEvidence::Of(mapping.all()), before);
}

TEST_F(RsmCreateFails, WithBadAddrOnTheStackOfTheCallingThread) {
  const auto here =
      reinterpret_cast<uintptr_t>(__builtin_frame_address(0)) / PageSize() * PageSize();
  constexpr size_t kPages = 32;
  auto* const below = reinterpret_cast<std::byte*>(here) - (kPages - 1) * PageSize();
  for (volatile std::byte* page = below + (kPages - 1) * PageSize(); page >= below;) {
    *page;  // so that the stack has grown so far
    page -= PageSize();
  }
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR, TryToCreate(below, kPages * PageSize()),
                        "is the calling thread's stack"));
}

// --- Row 8: what is lacking ---------------------------------------------------------------------

TEST_F(RsmCreateFails, WithInsufficientMemBeyondTheLockLimit) {
  RunInChild(Limited(7 * PageSize()), [this] {
    const TestMapping mapping(8);
    FillPages(mapping, 8, "page ");
    const size_t descriptors = CountDescriptors();
    ExpectRefused(mapping, 8, RSMERR_INSUFFICIENT_MEM, "over RLIMIT_MEMLOCK");
    ExpectRefused(mapping, 8, RSMERR_INSUFFICIENT_MEM, "the segment cannot be locked");
    EXPECT_EQ(CountDescriptors(), descriptors);
    EXPECT_EQ(LockedBytes(), 0u);
    const Export segment = Create(mapping, 7);
  });
}

TEST_F(RsmCreateFails, WithInsufficientMemWhereNothingMayBeLocked) {
  RunInChild(Limited(0), [this] {
    const TestMapping mapping(1);
    FillPages(mapping, 1, "page ");
    ExpectRefused(mapping, 1, RSMERR_INSUFFICIENT_MEM, "RLIMIT_MEMLOCK is 0");
  });
}

TEST_F(RsmCreateFails, WithTheRowOfTheMemoryWhereItIsBeyondTheLockLimitToo) {
  RunInChild(Limited(0), [this] {
    TestMapping mapping(3);
    ASSERT_EQ(mprotect(mapping.page(0), PageSize(), PROT_READ), 0);
    EXPECT_TRUE(FailsWith(RSMERR_PERM_DENIED, TryToCreate(mapping.page(0), 3 * PageSize())));
    mapping.Unmap(0, 1);
    EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR, TryToCreate(mapping.page(0), 3 * PageSize())));
  });
}

TEST_F(RsmCreateFails, WithInsufficientMemWhereNoObjectCanBeSoLong) {
  RunInChild([this] {
    const TestMapping mapping(4);
    FillPages(mapping, 4, "page ");
    const rlimit limit = {2 * PageSize(), 2 * PageSize()};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ExpectRefused(mapping, 4, RSMERR_INSUFFICIENT_MEM, "no object for the segment");
    const Export segment = Create(mapping, 2);
  });
}

// However many it needs.
TEST_F(RsmCreateFails, WithInsufficientResourcesWhereTooFewDescriptorsAreLeft) {
  RunInChild([this] {
    const os::OwnedDescriptor file = MemoryFile(2);
    const TestMapping mapping(2), shared(2, file.get());
    FillPages(mapping, 2, "page ");
    for (const TestMapping* const each : {&mapping, &shared}) {
      const MemoryState before = MemoryState::Of(*each, 0, 2);
      const size_t descriptors = CountDescriptors();
      const rsmapi_controller_handle_t loopback = controller();
      rsm_memseg_export_handle_t segment = nullptr;
      size_t left = 0;
      for (int result = RSMERR_INSUFFICIENT_RESOURCES; result != RSM_SUCCESS; ++left) {
        ASSERT_LT(left, 10u);
        {
          const DescriptorHog hog(left);
          result = rsm_memseg_export_create(loopback, &segment, each->page(0), 2 * PageSize(), 0);
        }
        if (result == RSM_SUCCESS) break;
        EXPECT_TRUE(FailsWith(RSMERR_INSUFFICIENT_RESOURCES, result, "Too many open files"))
            << left;
        EXPECT_EQ(segment, nullptr);
        EXPECT_EQ(MemoryState::Of(*each, 0, 2), before);
        EXPECT_EQ(CountDescriptors(), descriptors);
      }
      EXPECT_GT(left, 0u);
      const Export destroyed(segment);
    }
  });
}

TEST_F(RsmCreateFails, WithInsufficientResourcesWhereWritesOfOtherThreadsCannotBeStopped) {
  RunInChild([this] {
    test_support::ForbidSyscalls(std::array<long, 1>{SYS_userfaultfd}, EPERM);
    if (IsSkipped()) return;
    const TestMapping mapping(2);
    FillPages(mapping, 2, "page ");
    test_support::OtherThread thread;
    thread.Run([] {});
    ExpectRefused(mapping, 2, RSMERR_INSUFFICIENT_RESOURCES,
                  "or allow userfaultfd(2) in the container's seccomp profile");
  });
}

}  // namespace
