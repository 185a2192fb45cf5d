#include "tests/support/test_mapping.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace test_support {
namespace {

void Require(bool success, const char* call) {
  if (success) return;
  std::perror(call);
  std::abort();
}

// A place that nothing else is mapped at: the kernel gives out addresses from the top, and would
// fill a hole there with the next small mapping. No place is used twice, so that a test which
// leaves counts behind does not spoil the next. (Where the sanitizers' shadow memory is not,
// either.)
void* NextPlace() {
  constexpr uintptr_t kFirst = 0x7e90'0000'0000;
  constexpr uintptr_t kDistance = uintptr_t{1} << 28;
  static std::atomic<uintptr_t> next{kFirst};
  return reinterpret_cast<void*>(next.fetch_add(kDistance));
}

std::byte* MapPages(void* address, size_t bytes, int flags, int descriptor) {
  void* mapped = mmap(address, bytes, PROT_READ | PROT_WRITE, flags, descriptor, 0);
  Require(mapped != MAP_FAILED, "mmap");
  return static_cast<std::byte*>(mapped);
}

}  // namespace

size_t PageSize() {
  static const size_t size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

os::Errno RawMlock(const void* address, size_t bytes) {
  return syscall(SYS_mlock, address, bytes) == 0 ? os::kSuccess : os::Errno::Last();
}

os::Errno RawMunlock(const void* address, size_t bytes) {
  return syscall(SYS_munlock, address, bytes) == 0 ? os::kSuccess : os::Errno::Last();
}

TestMapping::TestMapping(size_t pages)
    : pages_(pages),
      begin_(MapPages(NextPlace(), pages * PageSize(), MAP_PRIVATE | MAP_ANONYMOUS, -1)) {}

TestMapping::TestMapping(size_t pages, int descriptor)
    : pages_(pages), begin_(MapPages(NextPlace(), pages * PageSize(), MAP_SHARED, descriptor)) {}

TestMapping::~TestMapping() { Unmap(0, pages_); }

os::PageRange TestMapping::range(size_t first, size_t count) const {
  const os::PageNumber begin(reinterpret_cast<uintptr_t>(begin_) / PageSize() + first);
  return os::PageRange(begin, os::PageCount(count));
}

void TestMapping::Unmap(size_t first, size_t count) {
  Require(munmap(page(first), count * PageSize()) == 0, "munmap");
}

void TestMapping::MapAgain(size_t first, size_t count) {
  MapPages(page(first), count * PageSize(), MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1);
}

void TestMapping::Forbid(size_t first, size_t count) {
  Require(mprotect(page(first), count * PageSize(), PROT_NONE) == 0, "mprotect");
}

void TestMapping::Allow(size_t first, size_t count) {
  Require(mprotect(page(first), count * PageSize(), PROT_READ | PROT_WRITE) == 0, "mprotect");
}

}  // namespace test_support
