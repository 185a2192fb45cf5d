// Bindings that move to other memory, and what they need.

#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "os/latch.h"
#include "os/memory_object.h"
#include "pinlock/mpin.h"
#include "rsm/internal/binding.h"
#include "rsm/internal/binding_fixture.h"
#include "rsm/internal/error.h"
#include "tests/support/child.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/test_mapping.h"
#include "tests/support/test_segment.h"

namespace rsm::internal {
namespace {

using test_support::KernelEvidence;
using test_support::Limited;
using test_support::LockedBytes;
using test_support::MemoryState;
using test_support::PageSize;
using test_support::RunInChild;
using test_support::TestMapping;

// --- Rebind -------------------------------------------------------------------------------------

TEST_F(RebindTest, BindsOtherMemoryToTheSameObject) {
  ASSERT_TRUE(Succeeds(BindAt(mapping_.page(0), kPages, bound_)));
  const os::FileNumber object = ObjectOf(bound_);
  Importer importer(bound_);
  const std::string here = Text(), there = Other().contents;
  ASSERT_TRUE(Succeeds(RebindTo(bound_, other_.page(0))));
  EXPECT_EQ(bound_.address, other_.page(0));
  EXPECT_EQ(ObjectOf(bound_), object);
  EXPECT_EQ(importer.text(), there);
  EXPECT_EQ(Text(), here);
  EXPECT_TRUE(importer.Shares(other_.page(0)));
  EXPECT_FALSE(importer.Shares(mapping_.page(0)));
  EXPECT_FALSE(State().is_shared);
  EXPECT_EQ(State().pins_max, 0u);
  EXPECT_EQ(Other().pins_min, 1u);
  UnbindIt(bound_);
  EXPECT_EQ(LockedBytes(), 0u);
}

// The object is written to, and beyond the limit on files that is a signal that ends the process.
TEST_F(RebindTest, GoesOnWhereTheLimitOnFilesWasLoweredMeanwhile) {
  RunInChild([this] {
    ASSERT_TRUE(Succeeds(BindAt(mapping_.page(0), kPages, bound_)));
    const Importer importer(bound_);
    const std::string there = Other().contents;
    const rlimit limit{PageSize(), PageSize()};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0) << std::strerror(errno);
    ASSERT_TRUE(Succeeds(RebindTo(bound_, other_.page(0))));
    EXPECT_EQ(importer.text(), there);
    UnbindIt(bound_);
  });
}

TEST_F(RebindTest, GoesOnWhereTheObjectIsSealed) {
  ASSERT_TRUE(Succeeds(BindAt(mapping_.page(0), kPages, bound_)));
  const Importer importer(bound_);
  const std::string there = Other().contents;
  {
    const os::LatchHolder holder(MemoryLatch());
    ASSERT_TRUE(RefuseNewWriters(bound_));
  }
  ASSERT_TRUE(Succeeds(RebindTo(bound_, other_.page(0))));
  EXPECT_EQ(importer.text(), there);
  UnbindIt(bound_);
}

// Its contents go to the object piece by piece.
TEST(Rebind, OfMuchMemoryCopiesAllOfIt) {
  constexpr size_t kMany = 40;
  const TestMapping one(kMany), other(kMany);
  test_support::FillPages(one, kMany, "one ");
  test_support::FillPages(other, kMany, "other ");
  const size_t bytes = kMany * PageSize();
  const std::string in_one = test_support::TextOf(one.page(0), bytes);
  const std::string in_other = test_support::TextOf(other.page(0), bytes);
  BoundRange bound;
  ASSERT_TRUE(Succeeds(BindAt(one.page(0), kMany, bound)));
  const Importer importer(bound);
  EXPECT_TRUE(importer.text() == in_one) << "not what was exported";
  ASSERT_TRUE(Succeeds(RebindTo(bound, other.page(0))));
  EXPECT_TRUE(importer.text() == in_other) << "not what it was bound to";
  EXPECT_TRUE(test_support::TextOf(one.page(0), bytes) == in_one) << "not what was there";
  UnbindIt(bound);
}

TEST_F(RebindTest, IsRefusedToAPartAndWhereAnotherSegmentIsBound) {
  BoundRange part;
  ASSERT_TRUE(Succeeds(BindAt(mapping_.page(0), kPages, bound_)));
  ASSERT_TRUE(Succeeds(BindAt(mapping_.page(1), 1, part)));
  const MemoryState before = State(), other_before = Other();
  EXPECT_TRUE(Fails(RSMERR_INSUFFICIENT_RESOURCES, RebindTo(bound_, other_.page(0))));
  EXPECT_TRUE(Fails(RSMERR_INSUFFICIENT_RESOURCES, RebindTo(part, other_.page(0))));
  EXPECT_EQ(State(), before);
  EXPECT_EQ(Other(), other_before);
  UnbindIt(bound_);
  EXPECT_TRUE(Fails(RSMERR_INSUFFICIENT_RESOURCES, RebindTo(part, other_.page(0))))
      << "it is bound to a part of its object";
  UnbindIt(part);
}

// --- The lock limit -----------------------------------------------------------------------------

TEST_F(RebindTest, NeedsRoomForOneCopyAloneButToRebind) {
  RunInChild(Limited(kBytes), [this] {
    const std::string before = Text();
    ASSERT_TRUE(Succeeds(BindAt(mapping_.page(0), kPages, bound_)));
    EXPECT_EQ(LockedBytes(), kBytes);
    ASSERT_TRUE(Succeeds(RenewIt(bound_)));
    EXPECT_EQ(LockedBytes(), kBytes);
    EXPECT_TRUE(KernelEvidence::Of(mapping_.all()).Locks(mapping_.all()));
    const MemoryState bound = State(), other = Other();
    EXPECT_TRUE(Fails(RSMERR_INSUFFICIENT_MEM, RebindTo(bound_, other_.page(0)), "RLIMIT_MEMLOCK"));
    EXPECT_EQ(State(), bound);
    EXPECT_EQ(Other(), other);
    UnbindIt(bound_);
    EXPECT_EQ(LockedBytes(), 0u);
    EXPECT_EQ(Text(), before);
  });
}

TEST_F(BindingTest, NeedsNoMoreThanThatWherePagesArePinnedAlready) {
  RunInChild(Limited(kBytes), [this] {
    ASSERT_EQ(mpin(mapping_.page(0), kBytes), 0) << mpin_error();
    ASSERT_TRUE(Succeeds(BindAt(mapping_.page(0), kPages, bound_)));
    EXPECT_EQ(LockedBytes(), kBytes);
    UnbindIt(bound_);
    EXPECT_EQ(LockedBytes(), kBytes);
    EXPECT_TRUE(KernelEvidence::Of(mapping_.all()).Locks(mapping_.all()));
    EXPECT_EQ(munpin(mapping_.page(0), kBytes), 0) << mpin_error();
    EXPECT_EQ(LockedBytes(), 0u);
  });
}

TEST_F(BindingTest, IsRefusedWithoutRoomAndChangesNothing) {
  for (const uint64_t limit : {uint64_t{0}, kBytes - PageSize()}) {
    RunInChild(Limited(limit), [this] {
      const MemoryState before = State();
      EXPECT_TRUE(
          Fails(RSMERR_INSUFFICIENT_MEM, BindAt(mapping_.page(0), kPages, bound_), "be locked"));
      EXPECT_EQ(bound_.binding, nullptr);
      EXPECT_EQ(State(), before);
    });
  }
}

// --- Threads ------------------------------------------------------------------------------------

// ThreadSanitizer sees neither that writers are stopped nor that pages are moved.
__attribute__((no_sanitize("thread"), noinline)) char LookAt(const volatile std::byte* address) {
  return static_cast<char>(*address);
}

// Counts up a word of each page, and knows what it has counted.
class Writer {
 public:
  explicit Writer(std::vector<std::byte*> pages) : pages_(std::move(pages)) {
    thread_ = std::thread([this] { Run(); });
  }
  // Whether each word holds what was written last.
  bool End() {
    stop_ = true;
    thread_.join();
    return std::ranges::all_of(pages_, [this](std::byte* page) {
      return __atomic_load_n(WordOf(page), __ATOMIC_RELAXED) == written_;
    });
  }
  bool has_missed() const { return has_missed_; }
  uint64_t rounds() const { return written_; }

 private:
  static uint64_t* WordOf(std::byte* page) { return reinterpret_cast<uint64_t*>(page) + 8; }
  __attribute__((no_sanitize("thread"))) void Run() {
    for (uint64_t round = 0; !stop_; written_ = ++round) {
      for (std::byte* const page : pages_) {
        if (__atomic_load_n(WordOf(page), __ATOMIC_RELAXED) != round) has_missed_ = true;
        __atomic_store_n(WordOf(page), round + 1, __ATOMIC_RELAXED);
      }
    }
  }

  const std::vector<std::byte*> pages_;
  std::atomic<bool> stop_ = false, has_missed_ = false;
  std::atomic<uint64_t> written_ = 0;
  std::thread thread_;
};

TEST_F(RebindTest, LosesNoWritesOfOtherThreads) {
  std::vector<std::byte*> pages;
  for (size_t page = 0; page < kPages; ++page) {
    for (const TestMapping* const each : {&std::as_const(mapping_), &other_}) {
      std::memset(each->page(page), 0, PageSize());
      pages.push_back(each->page(page));
    }
  }
  Writer writer(pages);
  int result = RSM_SUCCESS;
  for (int i = 0; i < 50 && result == RSM_SUCCESS; ++i) {
    result = BindAt(mapping_.page(0), kPages, bound_);
    if (result != RSM_SUCCESS) break;
    EXPECT_TRUE(Succeeds(RenewIt(bound_)));
    EXPECT_TRUE(Succeeds(RebindTo(bound_, other_.page(0))));
    EXPECT_TRUE(Succeeds(RebindTo(bound_, mapping_.page(0))));
    UnbindIt(bound_);
  }
  const std::string text = ErrorText();
  while (writer.rounds() < 2) std::this_thread::yield();
  EXPECT_TRUE(writer.End());
  EXPECT_FALSE(writer.has_missed());
  if (result == RSMERR_INSUFFICIENT_RESOURCES) GTEST_SKIP() << text;
  EXPECT_EQ(result, RSM_SUCCESS) << text;
}

// Each byte of these pages is the same, and stays so.
TEST(RebindLargeTest, ShowsReadersWhatIsTheirsAllTheTime) {
  constexpr size_t kPages = 128;
  const TestMapping one(kPages), two(kPages);
  std::memset(one.page(0), '1', kPages * PageSize());
  std::memset(two.page(0), '2', kPages * PageSize());
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> rounds = 0, wrong = 0;
  std::thread reader([&] {
    for (; !stop; ++rounds) {
      for (size_t page = 0; page < kPages; ++page) {
        wrong += LookAt(one.page(page)) != '1';
        wrong += LookAt(two.page(page)) != '2';
      }
    }
  });
  BoundRange bound;
  int result = BindAt(one.page(0), kPages, bound);
  for (int i = 0; i < 40 && result == RSM_SUCCESS; ++i) {
    result = RebindTo(bound, i % 2 == 0 ? two.page(0) : one.page(0));
  }
  const std::string text = ErrorText();
  UnbindIt(bound);
  while (rounds < 2) std::this_thread::yield();
  stop = true;
  reader.join();
  EXPECT_EQ(wrong, 0u);
  if (result == RSMERR_INSUFFICIENT_RESOURCES) GTEST_SKIP() << text;
  EXPECT_EQ(result, RSM_SUCCESS) << text;
}

}  // namespace
}  // namespace rsm::internal
