#include "benchmarks/bare.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "benchmarks/must.h"

namespace benchmarks {
namespace {

// What a leaf of the lock table covers.
constexpr uint64_t kLeafPages = 512;

std::byte* Map(size_t bytes, int protection) {
  void* address =
      mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  Must(address != MAP_FAILED, "mmap");
  return static_cast<std::byte*>(address);
}

size_t ReservedBytes(uint64_t pages) { return (pages + 2 * kLeafPages) * PageSize(); }

cpu_set_t UsableSet() {
  cpu_set_t set;
  CPU_ZERO(&set);
  Must(sched_getaffinity(0, sizeof(set), &set) == 0, "sched_getaffinity");
  return set;
}

}  // namespace

size_t PageSize() {
  static const size_t size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

void BareLock(const void* address, size_t bytes) {
  if (syscall(SYS_mlock, address, bytes) != 0) Must(false, "mlock");
}

void BareUnlock(const void* address, size_t bytes) {
  if (syscall(SYS_munlock, address, bytes) != 0) Must(false, "munlock");
}

void* MapPage() { return Map(PageSize(), PROT_READ); }

void UnmapPage(void* page) { Must(munmap(page, PageSize()) == 0, "munmap"); }

Area::Area(uint64_t pages, Fill fill)
    : pages_(pages), reservation_(Map(ReservedBytes(pages), PROT_NONE)) {
  const size_t alignment = kLeafPages * PageSize();
  const uintptr_t address = reinterpret_cast<uintptr_t>(reservation_);
  // At least one inaccessible page is left on either side.
  begin_ = reservation_ + (alignment - address % alignment);
  Must(mprotect(begin_, bytes(), PROT_READ | PROT_WRITE) == 0, "mprotect");
  (void)madvise(begin_, bytes(), MADV_NOHUGEPAGE);  // EINVAL: a kernel without huge pages
  if (fill == Fill::kCold) return;
  for (uint64_t i = 0; i < pages; ++i) *page(i) = std::byte{1};
}

Area::~Area() { Must(munmap(reservation_, ReservedBytes(pages_)) == 0, "munmap"); }

void BindToCpu(size_t index) {
  const cpu_set_t usable = UsableSet();
  for (size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &usable) || index-- != 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    Must(sched_setaffinity(0, sizeof(one), &one) == 0, "sched_setaffinity");
    return;
  }
}

size_t UsableCpus() {
  const cpu_set_t usable = UsableSet();
  return static_cast<size_t>(CPU_COUNT(&usable));
}

double InChild(const std::function<double()>& function) {
  int ends[2];
  Must(pipe(ends) == 0, "pipe");
  std::fflush(nullptr);
  const pid_t child = fork();
  Must(child >= 0, "fork");
  double result = 0;
  if (child == 0) {
    result = function();
    Must(write(ends[1], &result, sizeof(result)) == sizeof(result), "write");
    _exit(0);
  }
  close(ends[1]);
  const ssize_t received = read(ends[0], &result, sizeof(result));
  close(ends[0]);
  int status = 0;
  Must(waitpid(child, &status, 0) == child, "waitpid");
  if (received != sizeof(result)) std::exit(1);  // the child has said why
  return result;
}

}  // namespace benchmarks
