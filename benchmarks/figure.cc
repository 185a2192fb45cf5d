#include "benchmarks/figure.h"

#include <cstdio>
#include <fstream>

#include "absl/strings/str_format.h"
#include "benchmarks/bare.h"
#include "os/limits.h"
#include "os/memory.h"
#include "os/page_range.h"

namespace benchmarks {
namespace {

std::string FormatBytes(uint64_t bytes) {
  constexpr uint64_t kMiB = 1024 * 1024;
  return bytes % kMiB == 0 ? absl::StrFormat("%u MiB", bytes / kMiB)
                           : absl::StrFormat("%u KiB", bytes / 1024);
}

// Bytes that the machine can give away; all, where that cannot be read.
uint64_t AvailableBytes() {
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    unsigned long long kib = 0;
    if (std::sscanf(line.c_str(), "MemAvailable: %llu kB", &kib) == 1) return kib * 1024;
  }
  return os::PhysicalMemoryBytes();
}

}  // namespace

std::string ReasonToSkip(const Figure& figure) {
  if (UsableCpus() < figure.cpus) return absl::StrFormat("needs %d CPUs", figure.cpus);
  const os::PageCount pages(figure.locked_pages);
  const uint64_t bytes = pages.bytes(PageSize());
  const uint64_t wanted_bytes = bytes + figure.other_pages * PageSize();
  if (!os::RealMemory().CheckLockLimit(pages).ok()) {
    return absl::StrFormat("locks %s, RLIMIT_MEMLOCK is %s", FormatBytes(bytes),
                           FormatBytes(os::MemlockLimit().soft.value_or(0)));
  }
  // A quarter more, for the tables of this library and of the kernel, and for others.
  const uint64_t free_bytes = AvailableBytes();
  if (free_bytes < wanted_bytes + wanted_bytes / 4) {
    return absl::StrFormat("fills %s, %s are free", FormatBytes(wanted_bytes),
                           FormatBytes(free_bytes));
  }
  return figure.obstacle ? figure.obstacle() : "";
}

}  // namespace benchmarks
