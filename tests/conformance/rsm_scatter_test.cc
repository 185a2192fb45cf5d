// rsm_memseg_import_getv(3), _putv(3) and rsm_create_localmemory_handle(3), sentence by sentence.

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "pinlock/mpin.h"
#include "rsm/rsmapi.h"
#include "tests/support/child.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/test_mapping.h"
#include "tests/support/test_segment.h"

namespace {

using test_support::Export;
using test_support::FailsWith;
using test_support::FillPages;
using test_support::Import;
using test_support::KernelEvidence;
using test_support::Limited;
using test_support::MemoryState;
using test_support::PageSize;
using test_support::RunInChild;
using test_support::Succeeds;
using test_support::TestMapping;
using test_support::TextOf;

// A segment of 2 pages, a connection to it, and memory of the importer's.
class RsmScatter : public test_support::RsmTest {
 protected:
  static constexpr size_t kPages = 2;
  const size_t kBytes = kPages * PageSize();

  RsmScatter() {
    FillPages(mapping_, kPages, "page ");
    FillPages(local_, kPages, "local ");
    segment_ = Create(mapping_, kPages);
    number_ = Publish(segment_);
    remote_ = Connect(number_);
  }

  rsm_localmemory_handle_t HandleOf(const TestMapping& mapping, size_t pages) const {
    rsm_localmemory_handle_t handle = nullptr;
    EXPECT_TRUE(Succeeds(rsm_create_localmemory_handle(
        controller(), &handle, reinterpret_cast<char*>(mapping.page(0)), pages * PageSize())));
    return handle;
  }
  void Free(rsm_localmemory_handle_t handle) const {
    EXPECT_TRUE(Succeeds(rsm_free_localmemory_handle(controller(), handle)));
  }

  // From, or to, `local_`.
  rsm_iovec_t Request(size_t local_offset, size_t remote_offset, size_t bytes) const {
    rsm_iovec_t request = {};
    request.io_type = RSM_VA_TYPE;
    request.local.vaddr = reinterpret_cast<char*>(local_.page(0));
    request.local_offset = local_offset;
    request.remote_offset = remote_offset;
    request.transfer_length = bytes;
    return request;
  }
  static rsm_iovec_t Request(rsm_localmemory_handle_t handle, size_t local_offset,
                             size_t remote_offset, size_t bytes) {
    rsm_iovec_t request = {};
    request.io_type = RSM_HANDLE_TYPE;
    request.local.handle = handle;
    request.local_offset = local_offset;
    request.remote_offset = remote_offset;
    request.transfer_length = bytes;
    return request;
  }
  rsm_scat_gath_t ListOf(std::vector<rsm_iovec_t>& requests, uint_t flags = 0) const {
    rsm_scat_gath_t list = {};
    list.local_nodeid = 1;
    list.io_request_count = requests.size();
    list.io_residual_count = 77;  // of the caller before
    list.flags = flags;
    list.remote_handle = remote_.get();
    list.iovec = requests.data();
    return list;
  }

  size_t CountSignals() const {
    size_t count = 0;
    while (rsm_intr_signal_wait(segment_.get(), 0) == RSM_SUCCESS) ++count;
    return count;
  }

  const TestMapping mapping_{kPages}, local_{kPages};
  Export segment_;
  rsm_memseg_id_t number_ = 0;
  Import remote_;
};

TEST_F(RsmScatter, GetvCopiesEachRequestOutOfTheSegment) {
  std::vector<rsm_iovec_t> requests = {Request(0, 1, 3), Request(100, PageSize(), 7),
                                       Request(50, 0, 0)};
  std::string expected = TextOf(local_.page(0), kBytes);
  expected.replace(0, 3, TextOf(mapping_.page(0) + 1, 3));
  expected.replace(100, 7, "page 1.");
  rsm_scat_gath_t list = ListOf(requests);
  ASSERT_TRUE(Succeeds(rsm_memseg_import_getv(&list)));
  EXPECT_EQ(list.io_residual_count, 0u);
  EXPECT_EQ(TextOf(local_.page(0), kBytes), expected);
}

TEST_F(RsmScatter, PutvCopiesEachRequestIntoTheSegmentOneAfterTheOther) {
  std::vector<rsm_iovec_t> requests = {Request(0, 10, 5), Request(PageSize(), 12, 7)};
  std::string expected = TextOf(mapping_.page(0), kBytes);
  expected.replace(10, 5, "local");
  expected.replace(12, 7, "local 1");
  rsm_scat_gath_t list = ListOf(requests);
  ASSERT_TRUE(Succeeds(rsm_memseg_import_putv(&list)));
  EXPECT_EQ(list.io_residual_count, 0u);
  EXPECT_EQ(TextOf(mapping_.page(0), kBytes), expected);
}

TEST_F(RsmScatter, TakesMemoryByItsHandleToo) {
  const rsm_localmemory_handle_t handle = HandleOf(local_, kPages);
  std::vector<rsm_iovec_t> requests = {Request(handle, PageSize(), 0, 8), Request(0, 20, 8),
                                       Request(handle, kBytes - 1, 40, 1)};
  rsm_scat_gath_t list = ListOf(requests);
  ASSERT_TRUE(Succeeds(rsm_memseg_import_putv(&list)));
  EXPECT_EQ(TextOf(mapping_.page(0), 8), "local 1.");
  EXPECT_EQ(TextOf(mapping_.page(0) + 20, 8), "local 0.");
  ASSERT_TRUE(Succeeds(rsm_memseg_import_getv(&list)));
  Free(handle);
}

TEST_F(RsmScatter, TakesUpTo16Requests) {
  std::vector<rsm_iovec_t> requests;
  for (size_t i = 0; i < RSM_MAX_SGIOREQS; ++i) requests.push_back(Request(i, 2 * i, 1));
  rsm_scat_gath_t list = ListOf(requests);
  EXPECT_TRUE(Succeeds(rsm_memseg_import_putv(&list)));
  EXPECT_EQ(list.io_residual_count, 0u);
}

// --- What fails ---------------------------------------------------------------------------------

TEST_F(RsmScatter, FailsWithBadSgioWithoutAListOrWithoutOrWithTooManyRequests) {
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SGIO, rsm_memseg_import_getv(nullptr), "the list is NULL"));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SGIO, rsm_memseg_import_putv(nullptr)));
  std::vector<rsm_iovec_t> requests(RSM_MAX_SGIOREQS + 1, Request(0, 0, 1));
  rsm_scat_gath_t list = ListOf(requests);
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SGIO, rsm_memseg_import_putv(&list), "1 to 16 are possible"));
  list.io_request_count = 0;
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SGIO, rsm_memseg_import_getv(&list)));
  list.io_request_count = 1;
  list.iovec = nullptr;
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SGIO, rsm_memseg_import_putv(&list), "iovec is NULL"));
  EXPECT_EQ(list.io_residual_count, 77u) << "it is not written to";
}

TEST_F(RsmScatter, FailsWithBadSegHndlWhereTheRemoteHandleIsNone) {
  std::vector<rsm_iovec_t> requests = {Request(0, 0, 1)};
  rsm_scat_gath_t list = ListOf(requests);
  list.remote_handle = nullptr;
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_import_getv(&list)));
  EXPECT_EQ(list.io_residual_count, 1u);
  list.remote_handle = reinterpret_cast<rsm_memseg_import_handle_t>(segment_.get());
  EXPECT_TRUE(FailsWith(RSMERR_BAD_SEG_HNDL, rsm_memseg_import_putv(&list)));
}

TEST_F(RsmScatter, FailsWithTheCodeOfTheFirstRequestThatFailsAndTellsHowManyWereNotDone) {
  std::vector<rsm_iovec_t> requests = {Request(0, 0, 5), Request(0, 10, 5), Request(0, kBytes, 1),
                                       Request(0, 20, 5), Request(0, 0, SIZE_MAX)};
  std::string expected = TextOf(mapping_.page(0), kBytes);
  expected.replace(0, 5, "local").replace(10, 5, "local");
  rsm_scat_gath_t list = ListOf(requests, RSM_IMPLICIT_SIGPOST);
  EXPECT_TRUE(FailsWith(RSMERR_BAD_LENGTH, rsm_memseg_import_putv(&list)));
  EXPECT_EQ(list.io_residual_count, 3u);
  EXPECT_EQ(TextOf(mapping_.page(0), kBytes), expected);
  EXPECT_EQ(CountSignals(), 0u) << "nor is a signal posted";
}

TEST_F(RsmScatter, FailsWithTheCodesOfGetAndPut) {
  const Import reader = Connect(number_, RSM_PERM_READ);
  std::vector<rsm_iovec_t> requests = {Request(0, 0, 1)};
  rsm_scat_gath_t list = ListOf(requests);
  list.remote_handle = reader.get();
  EXPECT_TRUE(FailsWith(RSMERR_PERM_DENIED, rsm_memseg_import_putv(&list)));
  list.remote_handle = remote_.get();
  requests[0].remote_offset = SIZE_MAX;
  EXPECT_TRUE(FailsWith(RSMERR_BAD_OFFSET, rsm_memseg_import_getv(&list)));
  requests[0] = Request(0, 0, 1);
  requests[0].local.vaddr = nullptr;
  EXPECT_TRUE(FailsWith(RSMERR_BAD_ADDR, rsm_memseg_import_getv(&list)));
  ASSERT_TRUE(Succeeds(rsm_memseg_import_set_mode(remote_.get(), RSM_BARRIER_MODE_IMPLICIT)));
  requests[0] = Request(0, 0, 1);
  EXPECT_TRUE(FailsWith(RSMERR_BARRIER_UNINITIALIZED, rsm_memseg_import_getv(&list)));
  ASSERT_TRUE(Succeeds(rsm_memseg_import_set_mode(remote_.get(), RSM_BARRIER_MODE_EXPLICIT)));
  ASSERT_TRUE(Succeeds(rsm_memseg_export_unpublish(segment_.get())));
  EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, rsm_memseg_import_getv(&list)));
  EXPECT_EQ(list.io_residual_count, 1u);
}

TEST_F(RsmScatter, FailsWithBadSgioForAnUnknownTypeOfRequest) {
  std::vector<rsm_iovec_t> requests = {Request(0, 0, 1)};
  rsm_scat_gath_t list = ListOf(requests);
  for (const int type : {0, 3, -1}) {
    requests[0].io_type = type;
    EXPECT_TRUE(FailsWith(RSMERR_BAD_SGIO, rsm_memseg_import_getv(&list), "io_type"));
  }
}

TEST_F(RsmScatter, FailsWithBadLocalmemHndlWhereThatIsNone) {
  const rsm_localmemory_handle_t handle = HandleOf(local_, kPages);
  std::vector<rsm_iovec_t> requests = {Request(handle, 0, 0, 1)};
  rsm_scat_gath_t list = ListOf(requests);
  RunInChild([&] {
    list.remote_handle = Connect(number_).release();
    EXPECT_TRUE(FailsWith(RSMERR_BAD_LOCALMEM_HNDL, rsm_memseg_import_getv(&list)))
        << "it is the parent's";
  });
  Free(handle);
  EXPECT_TRUE(
      FailsWith(RSMERR_BAD_LOCALMEM_HNDL, rsm_memseg_import_getv(&list), "until it is freed"));
  requests[0].local.handle = nullptr;
  EXPECT_TRUE(FailsWith(RSMERR_BAD_LOCALMEM_HNDL, rsm_memseg_import_putv(&list)));
}

TEST_F(RsmScatter, FailsOutsideOfTheHandlesMemory) {
  const rsm_localmemory_handle_t handle = HandleOf(local_, 1);
  const std::string before = TextOf(local_.page(0), kBytes);
  std::vector<rsm_iovec_t> requests = {Request(handle, PageSize() + 1, 0, 1)};
  rsm_scat_gath_t list = ListOf(requests);
  EXPECT_TRUE(FailsWith(RSMERR_BAD_OFFSET, rsm_memseg_import_getv(&list), "local offset"));
  requests[0] = Request(handle, PageSize(), 0, 1);
  EXPECT_TRUE(FailsWith(RSMERR_BAD_LENGTH, rsm_memseg_import_getv(&list)));
  requests[0] = Request(handle, 1, 0, PageSize());
  EXPECT_TRUE(FailsWith(RSMERR_BAD_LENGTH, rsm_memseg_import_getv(&list)));
  requests[0] = Request(handle, 1, 0, SIZE_MAX);
  EXPECT_TRUE(FailsWith(RSMERR_BAD_LENGTH, rsm_memseg_import_getv(&list)));
  EXPECT_EQ(TextOf(local_.page(0), kBytes), before);
  Free(handle);
}

// --- Signals that are posted with it ------------------------------------------------------------

TEST_F(RsmScatter, PostsASignalToTheExporterWhereItIsAsked) {
  std::vector<rsm_iovec_t> requests = {Request(0, 0, 1), Request(0, 1, 1)};
  rsm_scat_gath_t list = ListOf(requests);
  ASSERT_TRUE(Succeeds(rsm_memseg_import_putv(&list)));
  EXPECT_EQ(CountSignals(), 0u);
  list.flags = RSM_IMPLICIT_SIGPOST;
  ASSERT_TRUE(Succeeds(rsm_memseg_import_putv(&list)));
  EXPECT_EQ(CountSignals(), 1u) << "one for the list";
  ASSERT_TRUE(Succeeds(rsm_memseg_import_getv(&list)));
  ASSERT_TRUE(Succeeds(rsm_memseg_import_putv(&list)));
  EXPECT_EQ(CountSignals(), 2u);
}

TEST_F(RsmScatter, PostsNoSecondSignalWhereTheyShallNotAccumulate) {
  std::vector<rsm_iovec_t> requests = {Request(0, 0, 1)};
  rsm_scat_gath_t list = ListOf(requests, RSM_IMPLICIT_SIGPOST | RSM_SIG_POST_NO_ACCUMULATE);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(Succeeds(rsm_memseg_import_putv(&list)));
  }
  EXPECT_EQ(CountSignals(), 1u);
  list.flags = RSM_SIGPOST_NO_ACCUMULATE;
  ASSERT_TRUE(Succeeds(rsm_memseg_import_putv(&list)));
  EXPECT_EQ(CountSignals(), 0u) << "the flag alone posts none";
}

// --- Local memory -------------------------------------------------------------------------------

using RsmLocalMemory = RsmScatter;

TEST_F(RsmLocalMemory, IsPinnedAsLongAsTheHandleIs) {
  const MemoryState before = MemoryState::Of(local_, 0, kPages);
  const rsm_localmemory_handle_t one = HandleOf(local_, kPages), two = HandleOf(local_, 1);
  EXPECT_NE(one, two);
  MemoryState during = MemoryState::Of(local_, 0, kPages);
  EXPECT_EQ(during.pins_min, 1u);
  EXPECT_EQ(during.pins_max, 2u);
  EXPECT_EQ(during.locks.locked_bytes, before.locks.locked_bytes + kBytes);
  EXPECT_FALSE(during.is_shared);
  Free(one);
  during = MemoryState::Of(local_, 0, kPages);
  EXPECT_EQ(during.pins_max, 1u);
  EXPECT_TRUE(KernelEvidence::Of(local_.all()).Locks(local_.range(0, 1)));
  Free(two);
  EXPECT_EQ(MemoryState::Of(local_, 0, kPages), before);
}

TEST_F(RsmLocalMemory, NeedNotBeOfPages) {
  rsm_localmemory_handle_t handle = nullptr;
  ASSERT_TRUE(Succeeds(rsm_create_localmemory_handle(
      controller(), &handle, reinterpret_cast<char*>(local_.page(0)) + 3, 5)));
  std::vector<rsm_iovec_t> requests = {Request(handle, 1, 0, 4)};
  rsm_scat_gath_t list = ListOf(requests);
  ASSERT_TRUE(Succeeds(rsm_memseg_import_putv(&list)));
  EXPECT_EQ(TextOf(mapping_.page(0), 4), TextOf(local_.page(0) + 4, 4));
  requests[0].transfer_length = 5;
  EXPECT_TRUE(FailsWith(RSMERR_BAD_LENGTH, rsm_memseg_import_putv(&list)));
  Free(handle);
}

TEST_F(RsmLocalMemory, FailsWithTheFirstCauseWhereSeveralApply) {
  rsm_localmemory_handle_t handle = nullptr;
  char* const memory = reinterpret_cast<char*>(local_.page(0));
  EXPECT_TRUE(
      FailsWith(RSMERR_BAD_CTLR_HNDL, rsm_create_localmemory_handle(nullptr, nullptr, nullptr, 0)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_LOCALMEM_HNDL,
                        rsm_create_localmemory_handle(controller(), nullptr, nullptr, 0)));
  EXPECT_TRUE(
      FailsWith(RSMERR_BAD_ADDR, rsm_create_localmemory_handle(controller(), &handle, nullptr, 0)));
  EXPECT_TRUE(FailsWith(RSMERR_BAD_LENGTH,
                        rsm_create_localmemory_handle(controller(), &handle, memory, 0)));
  EXPECT_EQ(handle, nullptr);
}

TEST_F(RsmLocalMemory, FailsWithBadAddrWhereItIsNotMapped) {
  TestMapping damaged(2);
  damaged.Unmap(1, 1);
  rsm_localmemory_handle_t handle = nullptr;
  const KernelEvidence before = KernelEvidence::Of(damaged.all());
  EXPECT_TRUE(FailsWith(
      RSMERR_BAD_ADDR,
      rsm_create_localmemory_handle(controller(), &handle, reinterpret_cast<char*>(damaged.page(0)),
                                    2 * PageSize()),
      "is not mapped"));
  EXPECT_EQ(KernelEvidence::Of(damaged.all()), before);
  EXPECT_EQ(handle, nullptr);
}

TEST_F(RsmLocalMemory, FailsWithInsufficientMemBeyondTheLockLimit) {
  RunInChild(Limited(PageSize()), [this] {
    rsm_localmemory_handle_t handle = nullptr;
    char* const memory = reinterpret_cast<char*>(local_.page(0));
    EXPECT_TRUE(FailsWith(RSMERR_INSUFFICIENT_MEM,
                          rsm_create_localmemory_handle(controller(), &handle, memory, kBytes),
                          "over RLIMIT_MEMLOCK"));
    EXPECT_EQ(handle, nullptr);
    EXPECT_EQ(test_support::LockedBytes(), 0u);
    Free(HandleOf(local_, 1));
  });
}

TEST_F(RsmLocalMemory, IsFreedOnce) {
  const rsm_localmemory_handle_t handle = HandleOf(local_, 1);
  EXPECT_TRUE(FailsWith(RSMERR_BAD_CTLR_HNDL, rsm_free_localmemory_handle(nullptr, handle)));
  Free(handle);
  EXPECT_TRUE(
      FailsWith(RSMERR_BAD_LOCALMEM_HNDL, rsm_free_localmemory_handle(controller(), handle)));
  EXPECT_TRUE(
      FailsWith(RSMERR_BAD_LOCALMEM_HNDL, rsm_free_localmemory_handle(controller(), nullptr)));
}

TEST_F(RsmLocalMemory, IsFreedWhereTheProgramHasUnmappedIt) {
  TestMapping mapping(2);
  const rsm_localmemory_handle_t handle = HandleOf(mapping, 2);
  mapping.Unmap(0, 2);
  Free(handle);
  mapping.MapAgain(0, 2);
  EXPECT_EQ(MemoryState::Of(mapping, 0, 2).pins_max, 0u);
}

TEST_F(RsmLocalMemory, OfTheParentIsNotPinnedInAForkedChild) {
  const rsm_localmemory_handle_t handle = HandleOf(local_, 1);
  RunInChild([&] {
    EXPECT_EQ(MemoryState::Of(local_, 0, 1).pins_max, 0u);
    ASSERT_EQ(mpin(local_.page(0), PageSize()), 0) << mpin_error();
    (void)rsm_free_localmemory_handle(controller(), handle);
    EXPECT_EQ(MemoryState::Of(local_, 0, 1).pins_min, 1u) << "the child's own";
  });
  EXPECT_EQ(MemoryState::Of(local_, 0, 1).pins_min, 1u);
  Free(handle);
}

}  // namespace
