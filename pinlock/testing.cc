#include "pinlock/testing.h"

#include <algorithm>
#include <optional>
#include <string>

#include "os/fault_count.h"
#include "os/memory.h"
#include "os/syscall_count.h"
#include "pinlock/testing_memory.h"

namespace pinlock::testing {
namespace internal {
namespace {

// What was found out about a range, page by page.
struct Tally {
  os::PageCount pages;                        // that are as asked for
  std::optional<os::PageNumber> first_other;  // nullopt: all are
};

// Precondition: not all pages are present.
os::PageNumber FirstAbsent(const os::Memory& memory, os::PageRange range) {
  while (range.count() > os::PageCount(1)) {
    const os::PageRange front(range.begin(), os::PageCount(range.count().value() / 2));
    const os::Result<os::PageCount> present = memory.CountPresent(front);
    const bool all = present.ok() && *present == front.count();
    range = all ? os::PageRange(front.end(), range.end()) : front;
  }
  return range.begin();
}

os::Result<Tally> TallyPresent(const os::Memory& memory, os::PageRange range) {
  const os::Result<os::PageCount> present = memory.CountPresent(range);
  if (!present.ok()) return present.error();
  Tally tally{*present, std::nullopt};
  if (*present < range.count()) tally.first_other = FirstAbsent(memory, range);
  return tally;
}

// Mapping by mapping: the kernel locks mappings, and splits them for it.
os::Result<Tally> TallyLocked(const os::Memory& memory, os::PageRange range) {
  Tally tally;
  for (os::PageNumber page = range.begin(); page < range.end();) {
    const os::Result<std::optional<os::Mapping>> mapping = memory.MappingAt(page);
    if (!mapping.ok()) return mapping.error();
    os::PageRange part(page, range.end());
    bool locked = false;
    if (mapping->has_value() && (*mapping)->pages.contains(page)) {
      part = (*mapping)->pages.Intersection(part);
      const os::Result<bool> all = memory.AllLocked(part);
      if (!all.ok()) return all.error();
      locked = *all;
    } else if (mapping->has_value()) {
      part = os::PageRange(page, std::min((*mapping)->pages.begin(), range.end()));
    }
    if (locked) tally.pages += part.count();
    if (!locked && !tally.first_other) tally.first_other = page;
    page = part.end();
  }
  return tally;
}

using TallyOf = os::Result<Tally> (*)(const os::Memory& memory, os::PageRange range);

::testing::AssertionResult Check(const os::Memory& memory, const void* data, size_t bytes,
                                 const char* adjective, TallyOf tally_of) {
  const auto address = reinterpret_cast<uintptr_t>(data);
  const size_t page_size = memory.page_size();
  const os::Result<os::PageRange> range = os::PageRange::Covering(address, bytes, page_size);
  if (!range.ok()) {
    return ::testing::AssertionFailure() << "the range ends beyond the address space";
  }
  const os::Result<Tally> tally = tally_of(memory, *range);
  if (!tally.ok()) {
    // Nobody knows, so neither answer may let a test pass.
    ADD_FAILURE() << "whether memory is " << adjective << " cannot be told here ("
                  << tally.error().Name() << "): /proc cannot be read";
    return ::testing::AssertionFailure() << "it cannot be told";
  }
  if (!tally->first_other) {
    return ::testing::AssertionSuccess()
           << "all " << range->count().value() << " pages are " << adjective;
  }
  const uintptr_t first = std::max(tally->first_other->address(page_size), address);
  return ::testing::AssertionFailure()
         << tally->pages.value() << " of " << range->count().value() << " pages are " << adjective
         << "; the first that is not begins at offset " << first - address;
}

// How much of the stack below the macro is made sure of: the statement may run deeper than the run
// before it did, across a page that nobody has used yet.
constexpr int kStackBytes = 64 * 1024, kFrameBytes = 512;

// Uses the stack of so many calls. (Many small frames: a sanitizer marks each in memory of its own,
// which has pages too.)
[[gnu::noinline]] int UseStack(int calls) {
  volatile char frame[kFrameBytes];
  frame[0] = static_cast<char>(calls);
  frame[kFrameBytes - 1] = frame[0];
  return calls == 0 ? frame[0] : UseStack(calls - 1) + frame[kFrameBytes - 1];
}

}  // namespace

::testing::AssertionResult CheckResident(const os::Memory& memory, const void* data, size_t bytes) {
  return Check(memory, data, bytes, "resident", TallyPresent);
}

::testing::AssertionResult CheckLocked(const os::Memory& memory, const void* data, size_t bytes) {
  return Check(memory, data, bytes, "locked", TallyLocked);
}

bool NoPageFaults::Begin() {
  (void)UseStack(kStackBytes / kFrameBytes);
  // Once for nothing: what runs between the two readings that count has been run before.
  (void)End();
  const os::FaultCount now = os::FaultCount::OfThisThread();
  minor_ = now.minor;
  major_ = now.major;
  return true;
}

bool NoPageFaults::End() {
  const os::FaultCount faults = os::FaultCount::OfThisThread() - os::FaultCount{minor_, major_};
  minor_ = faults.minor;
  major_ = faults.major;
  return faults.total() == 0;
}

std::string NoPageFaults::message() const {
  return std::to_string(minor_) + " minor and " + std::to_string(major_) +
         " major page faults of this thread, expected none, in\n  " + statement_ + "\n";
}

NoSyscalls::NoSyscalls(const char* statement)
    : statement_(statement), counter_(std::make_unique<os::SyscallCounter>()) {}

NoSyscalls::~NoSyscalls() = default;

bool NoSyscalls::Begin() {
  const os::Errno error = counter_->Start();
  if (error.ok()) return true;
  message_ = "system calls cannot be counted here (" + error.Name() +
             "): it takes Linux 5.11 on x86-64, and no seccomp filter that forbids prctl(2); "
             "CanCountSyscalls() tells\n";
  return false;
}

bool NoSyscalls::End() {
  const os::SyscallCount count = counter_->Stop();
  if (count.calls == 0) return true;
  message_ = (count.complete ? "" : "at least ") + std::to_string(count.calls) +
             (count.calls == 1 ? " system call" : " system calls") +
             " of this thread, expected none; the first is " + os::NameOfSyscall(count.first) +
             ", in\n  " + statement_ + "\n";
  return false;
}

}  // namespace internal

::testing::AssertionResult IsResident(const void* data, size_t bytes) {
  return internal::CheckResident(os::RealMemory(), data, bytes);
}

::testing::AssertionResult IsLocked(const void* data, size_t bytes) {
  return internal::CheckLocked(internal::LockingMemory(), data, bytes);
}

bool CanCountSyscalls() {
  os::SyscallCounter counter;
  return counter.Start().ok();
}

}  // namespace pinlock::testing
