// Threads that pin and unpin overlapping ranges, while the kernel is asked all the time to page out
// everything (MADV_PAGEOUT). What is pinned stays:
//  * Right after mpin() has returned, every page of the range is in the page tables: always.
//  * Whenever all threads stop, the kernel holds locked exactly the pages that they hold together
//    (`lo` of /proc/self/smaps, and VmLck), and each counter is the number of holders.
//
// Two seconds for each kind of memory; PINLOCK_STRESS_SECONDS=60 in the environment makes it 60.
// Anonymous and shared memory goes out only where there is swap: with the privilege the test makes
// some, without it these tests skip themselves. Clean pages of a file need none.
//
// A page that is not there is not always lost. The kernel may be moving it (compaction, which moves
// locked pages too): its entry is then one of migration for a moment, and pagemap shows it as
// swapped. The test looks again for a while and never touches the page, because that would bring
// back a lost one too. Nobody else touches it either: a call of mpin() enters the kernel only for
// pages without a counter. But a fault of such a page may map neighbours that are in the page cache
// (fault-around), and so hide that one of a file was lost. There the entry tells: a lost page of a
// file has an empty one, not one that says swapped, and is counted as lost at once.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "os/file.h"
#include "os/memory.h"
#include "pinlock/mpin.h"
#include "tests/support/kernel_evidence.h"
#include "tests/support/sanitizer.h"
#include "tests/support/seed.h"
#include "tests/support/temporary_swap.h"
#include "tests/support/test_file.h"
#include "tests/support/test_mapping.h"

namespace {

using test_support::KernelEvidence;
using test_support::PageSize;
using test_support::TestFile;
using test_support::TestMapping;

constexpr size_t kPages = 1900;  // over four leaves of the counters' tree; all fit in 8 MiB
constexpr size_t kLeafPages = 512;
constexpr size_t kPagesPerPinMax = 1500;
constexpr size_t kPinsPerThreadMax = 6;
constexpr int kStepsPerRound = 24;
constexpr int kThreads = 4;

std::chrono::seconds Duration() {
  const char* given = std::getenv("PINLOCK_STRESS_SECONDS");
  return std::chrono::seconds(given != nullptr ? std::atoi(given) : 2);
}

struct Range {
  size_t first;
  size_t count;
};

// Whether a page that was not present is gone. See the head of this file.
bool IsLost(os::PageNumber page, bool is_file) {
  constexpr uint64_t kPresent = uint64_t{1} << 63, kSwapped = uint64_t{1} << 62;
  static const int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  for (int look = 0; look < 50; ++look) {
    uint64_t entry = 0;
    const auto offset = static_cast<off_t>(page.value() * sizeof(entry));
    if (pread(pagemap, &entry, sizeof(entry), offset) != sizeof(entry)) return true;
    if ((entry & kPresent) != 0) return false;
    if (is_file && (entry & kSwapped) == 0) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

// Pins and unpins at random. What it holds is read by others between rounds only.
class Worker {
 public:
  Worker(const TestMapping& mapping, bool is_file, uint64_t seed)
      : mapping_(mapping), is_file_(is_file), random_(seed) {}

  void Round() {
    // Sometimes all is given up, so that the adversary gets it.
    const size_t held_max = Below(kPinsPerThreadMax + 1);
    while (held_.size() > held_max) Unpin();
    for (int i = 0; i < kStepsPerRound; ++i) {
      if (held_.size() < held_max && Below(2) == 0) {
        Pin();
      } else if (!held_.empty()) {
        Unpin();
      }
    }
  }
  void UnpinAll() {
    while (!held_.empty()) Unpin();
  }

  const std::vector<Range>& held() const { return held_; }
  uint64_t pins() const { return pins_; }
  uint64_t pages_checked() const { return pages_checked_; }
  uint64_t moving() const { return moving_; }
  uint64_t lost() const { return lost_; }
  // What a call that should have succeeded has said.
  const std::vector<std::string>& failures() const { return failures_; }

 private:
  size_t Below(size_t bound) { return random_() % bound; }

  // A single page, part of a leaf, or more than a leaf.
  Range Choose() {
    switch (Below(4)) {
      case 0:
        return {.first = Below(kPages), .count = 1};
      case 1:
      case 2: {
        const size_t leaf = Below(kPages / kLeafPages) * kLeafPages, first = Below(kLeafPages);
        return {.first = leaf + first, .count = 1 + Below(kLeafPages - first)};
      }
      default: {
        const size_t count = kLeafPages + 1 + Below(kPagesPerPinMax - kLeafPages);
        return {.first = Below(kPages - count + 1), .count = count};
      }
    }
  }

  void Pin() {
    const Range range = Choose();
    if (mpin(mapping_.page(range.first), range.count * PageSize()) != 0) {
      failures_.push_back(mpin_error());
      return;
    }
    ++pins_;
    held_.push_back(range);
    ExpectPresent(mapping_.range(range.first, range.count));
  }

  void ExpectPresent(os::PageRange pages) {
    const os::PageCount one(1);
    pages_checked_ += pages.count().value();
    if (test_support::AllResident(pages)) return;
    ++moving_;
    for (os::PageNumber page = pages.begin(); page < pages.end(); page = page + one) {
      if (!test_support::AllResident(os::PageRange(page, one)) && IsLost(page, is_file_)) ++lost_;
    }
  }

  void Unpin() {
    std::swap(held_[Below(held_.size())], held_.back());
    const Range range = held_.back();
    held_.pop_back();
    if (munpin(mapping_.page(range.first), range.count * PageSize()) != 0) {
      failures_.push_back(mpin_error());
    }
  }

  const TestMapping& mapping_;
  const bool is_file_;
  std::mt19937_64 random_;
  std::vector<Range> held_;
  uint64_t pins_ = 0;
  uint64_t pages_checked_ = 0;
  uint64_t moving_ = 0;  // times that a page was not present at first
  uint64_t lost_ = 0;
  std::vector<std::string> failures_;
};

// Pages out all of the pages that are not locked, and says how many went at least: threads may
// bring some back meanwhile. The kernel stops at the first locked one, hence the halves.
uint64_t PageOut(os::PageRange pages) {
  os::Memory& memory = os::RealMemory();
  const uint64_t before = memory.CountPresent(pages)->value();
  const os::Errno error = memory.PageOut(pages);
  if (error.ok()) {
    const uint64_t after = memory.CountPresent(pages)->value();
    return before > after ? before - after : 0;
  }
  if (error != os::Errno(EINVAL)) std::abort();
  if (pages.count() == os::PageCount(1)) return 0;
  const os::PageNumber middle = pages.begin() + os::PageCount(pages.count().value() / 2);
  return PageOut(os::PageRange(pages.begin(), middle)) +
         PageOut(os::PageRange(middle, pages.end()));
}

// All workers are at a stop. What the kernel and the library say is what the workers hold.
void ExpectExactlyHeld(const TestMapping& mapping, const std::vector<Worker>& workers,
                       uint64_t locked_bytes_before) {
  std::vector<uint64_t> holders(kPages, 0);
  for (const Worker& worker : workers) {
    for (const Range range : worker.held()) {
      for (size_t page = 0; page < range.count; ++page) ++holders[range.first + page];
    }
  }
  const KernelEvidence evidence = test_support::kThreadSanitizer
                                      ? KernelEvidence::Probe(mapping.all())
                                      : KernelEvidence::Of(mapping.all());
  uint64_t locked = 0;
  uint64_t wrong = 0;
  for (size_t page = 0; page < kPages; ++page) {
    mpin_info info{};
    if (mpin_query(mapping.page(page), 1, &info) != 0 || info.count_max != holders[page]) ++wrong;
    if (evidence.IsLocked(mapping.range(page, 1).begin()) != (holders[page] > 0)) ++wrong;
    if (holders[page] > 0) ++locked;
  }
  EXPECT_EQ(wrong, 0u) << "counters or locks differ; " << evidence;
  EXPECT_EQ(evidence.locked_bytes, locked_bytes_before + locked * PageSize());
}

struct Figures {
  uint64_t pins = 0, pages_checked = 0, stops = 0, paged_out = 0, moving = 0, lost = 0;
};

// Runs the threads and the adversary, and prints and returns what they did.
Figures Stress(const TestMapping& mapping, bool is_file) {
  const uint64_t locked_bytes_before = test_support::LockedBytes();
  const uint64_t seed = test_support::TestSeed();
  std::vector<Worker> workers;
  for (uint64_t i = 0; i < kThreads; ++i) workers.emplace_back(mapping, is_file, seed + i);

  std::atomic<bool> done{false};
  std::barrier stop(kThreads + 1);
  std::vector<std::thread> threads;
  for (Worker& worker : workers) {
    threads.emplace_back([&] {
      while (!done) {
        worker.Round();
        stop.arrive_and_wait();  // all have stopped
        stop.arrive_and_wait();  // they were looked at
      }
    });
  }
  Figures figures;
  std::thread adversary([&] {
    while (!done) figures.paged_out += PageOut(mapping.all());
  });
  const auto deadline = std::chrono::steady_clock::now() + Duration();
  while (!done) {
    stop.arrive_and_wait();
    ExpectExactlyHeld(mapping, workers, locked_bytes_before);
    ++figures.stops;
    done = testing::Test::HasFailure() || std::chrono::steady_clock::now() >= deadline;
    stop.arrive_and_wait();
  }
  for (std::thread& thread : threads) thread.join();
  adversary.join();

  for (Worker& worker : workers) {
    worker.UnpinAll();
    EXPECT_TRUE(worker.failures().empty()) << worker.failures().front();
    figures.pins += worker.pins();
    figures.pages_checked += worker.pages_checked();
    figures.moving += worker.moving();
    figures.lost += worker.lost();
  }
  EXPECT_EQ(figures.lost, 0u) << "pinned pages that were not present";
  EXPECT_TRUE(KernelEvidence::Of(mapping.all()).Locks({}));
  EXPECT_EQ(test_support::LockedBytes(), locked_bytes_before);
  std::cout << figures.pins << " pins, " << figures.pages_checked << " pages checked, "
            << figures.stops << " stops, " << figures.paged_out << " pages paged out, "
            << figures.moving << " checks met moving pages, " << figures.lost << " pages lost"
            << std::endl;
  return figures;
}

void FillWithData(const TestMapping& mapping) {
  for (size_t page = 0; page < kPages; ++page) *mapping.page(page) = std::byte{1};
}

TEST(PinlockPageout, PrivateAnonymousMemory) {
  const test_support::TemporarySwap swap;
  if (!swap.problem().empty()) GTEST_SKIP() << swap.problem();
  const TestMapping mapping(kPages);
  FillWithData(mapping);
  EXPECT_GT(Stress(mapping, false).paged_out, 0u) << "the adversary did nothing";
}

TEST(PinlockPageout, SharedMemory) {
  const test_support::TemporarySwap swap;
  if (!swap.problem().empty()) GTEST_SKIP() << swap.problem();
  const os::OwnedDescriptor file(memfd_create("stress", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(file.get(), static_cast<off_t>(kPages * PageSize())), 0);
  const TestMapping mapping(kPages, file.get());
  FillWithData(mapping);
  EXPECT_GT(Stress(mapping, true).paged_out, 0u) << "the adversary did nothing";
}

// Not writable: mlock(2) makes anonymous copies of the pages of a private, writable mapping.
//
// The page cache holds each page for itself here (MADV_RANDOM, and nothing is left from writing):
// paging out a part of a large folio unmaps the locked rest as well, whoever has locked it
// (pinlock(7); PagesOfAFile in mpin_mixing_test).
TEST(PinlockPageout, CleanPagesOfAPrivateFileMapping) {
  const TestFile file(kPages, static_cast<uint32_t>(PageSize()));
  if (os::IsInMemory(file.fd())) GTEST_SKIP() << "the test's directory has no page cache";
  ASSERT_EQ(fsync(file.fd()), 0);
  ASSERT_EQ(posix_fadvise(file.fd(), 0, 0, POSIX_FADV_DONTNEED), 0);
  const TestMapping mapping(kPages);
  ASSERT_EQ(
      mmap(mapping.page(0), kPages * PageSize(), PROT_READ, MAP_PRIVATE | MAP_FIXED, file.fd(), 0),
      mapping.page(0));
  ASSERT_EQ(madvise(mapping.page(0), kPages * PageSize(), MADV_RANDOM), 0);
  EXPECT_GT(Stress(mapping, true).paged_out, 0u) << "the adversary did nothing";
}

}  // namespace
