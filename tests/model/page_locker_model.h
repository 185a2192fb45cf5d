// PageLockerModel: what a PageLocker must do, page by page, in plain arrays.
//
// A reference for the randomised test and the fuzzer (page_locker_run.h), which do to the model what
// they do to a PageLocker over FakeMemory and then compare. Where the locker may answer in several
// ways (room in the cgroup is looked at now and then only) the model names them all, and takes over
// the answer: then everything has changed, or nothing.

#ifndef TESTS_MODEL_PAGE_LOCKER_MODEL_H_
#define TESTS_MODEL_PAGE_LOCKER_MODEL_H_

#include <cstdint>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "os/page_range.h"
#include "tests/model/page_locker_operation.h"

namespace test_model {

class PageLockerModel {
 public:
  enum class Kind : uint8_t { kHole, kAnonymous, kForbidden, kFile, kPastEnd };
  struct Page {
    Kind kind = Kind::kHole;
    uint16_t count = 0;
    bool locked = false;    // in the kernel
    bool residual = false;  // count 0, to be unlocked yet

    bool held() const { return count > 0 || residual; }
  };
  // What a call may return.
  using Answers = std::set<int>;
  // Who calls: it matters for I/O.
  enum class Thread { kFirst, kSecond };
  // What only the memory itself knows of the pages that a Lock is to lock.
  struct Demand {
    uint64_t absent = 0;  // not resident
    uint64_t holes = 0;   // of files: without a block
  };
  // In pages; nullopt: none.
  struct Limits {
    std::optional<uint64_t> memlock, rss, headroom;
    uint64_t pages_max = 0;  // PLOCK_MAX; 0 is none
    bool privileged = false;
    uint64_t free_blocks = ~uint64_t{0};
  };

  Page& At(os::PageNumber page) { return pages_[(page - kUniverse.begin()).value()]; }
  const Page& At(os::PageNumber page) const { return pages_[(page - kUniverse.begin()).value()]; }
  // Pages of the range that `wanted(page)` is true of.
  template <typename Wanted>
  uint64_t Count(os::PageRange range, Wanted wanted) const {
    uint64_t count = 0;
    for (os::PageNumber page = range.begin(); page < range.end(); page = page + os::PageCount(1)) {
      if (wanted(At(page))) ++count;
    }
    return count;
  }
  template <typename Change>
  void ForEach(os::PageRange range, Change change) {
    for (os::PageNumber page = range.begin(); page < range.end(); page = page + os::PageCount(1)) {
      change(At(page));
    }
  }
  uint64_t Locked(os::PageRange range = kUniverse) const;  // in the kernel
  bool HoldsAny(os::PageRange range) const;

  Answers LockAnswers(os::PageRange range, Demand demand) const;
  Answers UnlockAnswers(os::PageRange range, Thread thread) const;
  Answers RefreshAnswers(os::PageRange range, Demand demand) const;
  Answers IoBeginAnswers(os::PageRange range) const;
  Answers IoEndAnswers(os::PageRange range, Thread thread) const;

  // What success does.
  void Lock(os::PageRange range);
  void Unlock(os::PageRange range);
  void Refresh(os::PageRange range);
  void IoBegin(os::PageRange range, Thread thread) {
    if (!range.empty()) io_.insert(IoOf(range, thread));
  }
  void IoEnd(os::PageRange range, Thread thread) {
    if (!range.empty()) io_.erase(io_.find(IoOf(range, thread)));
  }
  // The pages have no counts any more, and what is mapped there is not locked.
  void Drop(os::PageRange range);
  // The same of the holes in the range.
  void DropHoles(os::PageRange range);
  // The kernel has moved the memory, with its locks, and the locker has been told.
  void Move(os::PageRange from, os::PageRange to);
  // Runs of pages that the kernel has refused to unlock.
  uint64_t ResidualRuns() const;
  // The kernel has unlocked what it refused to unlock before.
  void RetryResidual();

  Limits limits;
  // What is noted of I/O on any of the pages is dropped.
  void EndIo(os::PageRange range);

 private:
  using Io = std::tuple<os::PageNumber, os::PageNumber, Thread>;
  static Io IoOf(os::PageRange range, Thread thread) {
    return {range.begin(), range.end(), thread};
  }
  static bool Overlaps(const Io& io, os::PageRange range) {
    return !os::PageRange(std::get<0>(io), std::get<1>(io)).Intersection(range).empty();
  }

  std::vector<Page> pages_ = std::vector<Page>(kUniverse.count().value());
  std::multiset<Io> io_;
};

}  // namespace test_model

#endif  // TESTS_MODEL_PAGE_LOCKER_MODEL_H_
