#include "tests/support/kernel_evidence.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>

#include "os/memory.h"
#include "tests/support/test_mapping.h"

namespace test_support {
namespace {

void ForEachLine(const char* path, const std::function<void(const char*)>& visit) {
  std::FILE* file = std::fopen(path, "r");
  if (file == nullptr) {
    std::perror(path);
    std::abort();
  }
  char* line = nullptr;
  size_t capacity = 0;
  while (getline(&line, &capacity, file) > 0) visit(line);
  std::free(line);
  std::fclose(file);
}

// Adds a range behind the others.
void Append(os::PageRange range, std::vector<os::PageRange>& ranges) {
  if (range.empty()) return;
  if (!ranges.empty() && ranges.back().end() == range.begin()) {
    ranges.back() = os::PageRange(ranges.back().begin(), range.end());
  } else {
    ranges.push_back(range);
  }
}

// The number of KiB in the line of /proc/self/status that has the format.
uint64_t StatusBytes(const char* format) {
  uint64_t kib = 0;
  ForEachLine("/proc/self/status",
              [&](const char* line) { (void)std::sscanf(line, format, &kib); });
  return kib * 1024;
}

}  // namespace

uint64_t LockedBytes() { return StatusBytes("VmLck: %" SCNu64); }
uint64_t ResidentBytes() { return StatusBytes("VmRSS: %" SCNu64); }

KernelEvidence KernelEvidence::Of(os::PageRange range) {
  KernelEvidence evidence;
  evidence.locked_bytes = LockedBytes();
  os::PageRange mapping;
  ForEachLine("/proc/self/smaps", [&](const char* line) {
    uint64_t begin = 0, end = 0;
    const std::string_view text(line);
    if (std::sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &begin, &end) == 2) {
      mapping = os::PageRange(os::PageNumber(begin / PageSize()), os::PageNumber(end / PageSize()));
    } else if (text.starts_with("VmFlags:") && text.find(" lo ") != std::string_view::npos) {
      Append(mapping.Intersection(range), evidence.locked);
    }
  });
  return evidence;
}

KernelEvidence KernelEvidence::Probe(os::PageRange range) {
  KernelEvidence evidence;
  evidence.locked_bytes = LockedBytes();
  for (os::PageNumber page = range.begin(); page < range.end(); page = page + os::PageCount(1)) {
    const os::PageRange one(page, os::PageCount(1));
    // EINVAL: locked. ENOMEM: not mapped.
    if (madvise(one.address(PageSize()), PageSize(), MADV_COLD) != 0 && errno == EINVAL) {
      Append(one, evidence.locked);
    }
  }
  return evidence;
}

bool KernelEvidence::IsLocked(os::PageNumber page) const {
  return std::any_of(locked.begin(), locked.end(),
                     [page](os::PageRange range) { return range.contains(page); });
}

bool KernelEvidence::Locks(os::PageRange pages) const {
  return pages.empty() ? locked.empty() : locked == std::vector<os::PageRange>{pages};
}

std::ostream& operator<<(std::ostream& out, const KernelEvidence& evidence) {
  out << "VmLck " << evidence.locked_bytes << " bytes, locked pages" << std::hex;
  for (const os::PageRange& range : evidence.locked) {
    out << " [0x" << range.begin().value() << ", 0x" << range.end().value() << ")";
  }
  return out << std::dec;
}

bool AllResident(os::PageRange range) {
  const os::Result<os::PageCount> present = os::RealMemory().CountPresent(range);
  return present.ok() && *present == range.count();
}

// By the kernel's count of anonymous memory, which the zero page is not.
bool HasZeroPage() {
  const TestMapping mapping(1);
  (void)*static_cast<const volatile std::byte*>(mapping.page(0));
  bool here = false;
  uint64_t kib = 0;
  ForEachLine("/proc/self/smaps", [&](const char* line) {
    uintptr_t begin = 0, end = 0;
    uint64_t value = 0;
    if (std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR, &begin, &end) == 2) {
      const uintptr_t page = reinterpret_cast<uintptr_t>(mapping.page(0));
      here = begin <= page && page < end;
    } else if (here && std::sscanf(line, "Anonymous: %" SCNu64, &value) == 1) {
      kib = value;
    }
  });
  return kib == 0;
}

}  // namespace test_support
