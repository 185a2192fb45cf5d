#include "benchmarks/machine.h"

#include <sys/utsname.h>

#include <fstream>
#include <thread>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "os/limits.h"
#include "os/memory.h"
#include "os/page_range.h"

namespace benchmarks {
namespace {

constexpr char kUnknown[] = "unknown";

// The rest of the first line of a file that contains `label`, behind it; "" where there is none.
std::string Behind(const char* path, const std::string& label) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const size_t at = line.find(label);
    if (at != std::string::npos) {
      return std::string(absl::StripAsciiWhitespace(line.substr(at + label.size())));
    }
  }
  return "";
}

std::string OrUnknown(const std::string& text) { return text.empty() ? kUnknown : text; }

std::string Processor() {
  std::string model = Behind("/proc/cpuinfo", "model name");
  if (absl::StartsWith(model, ":")) model = model.substr(1);
  return OrUnknown(std::string(absl::StripAsciiWhitespace(model)));
}

std::string Kernel() {
  utsname names{};
  if (uname(&names) != 0) return kUnknown;
  return absl::StrCat(names.sysname, " ", names.release, " ", names.machine);
}

// The word in brackets: "always [madvise] never".
std::string HugePages() {
  const std::string rest = Behind("/sys/kernel/mm/transparent_hugepage/enabled", "[");
  return OrUnknown(rest.substr(0, rest.find(']')));
}

// Version 1 has a line for each controller, version 2 the line "0::PATH".
std::string MemoryCgroup() {
  if (!Behind("/proc/self/cgroup", ":memory:").empty()) return "v1";
  return Behind("/proc/self/cgroup", "0::").empty() ? "none" : "v2";
}

// Asks the kernel for a page more than the limit.
std::string LockLimit() {
  const auto soft = os::MemlockLimit().soft;
  if (!soft) return "unlimited";
  const os::Memory& memory = os::RealMemory();
  const os::PageCount beyond(*soft / memory.page_size() + 1);
  if (memory.CheckLockLimit(beyond).ok()) return "does not bind (CAP_IPC_LOCK)";
  return absl::StrFormat("%u KiB", *soft / 1024);
}

}  // namespace

std::string DescribeMachine() {
  std::string line = absl::StrFormat(
      "%s, %u CPUs, %.0f GiB; %s; transparent huge pages: %s; memory cgroup: %s; lock limit: %s",
      Processor(), std::thread::hardware_concurrency(),
      static_cast<double>(os::PhysicalMemoryBytes()) / (1 << 30), Kernel(), HugePages(),
      MemoryCgroup(), LockLimit());
#ifndef NDEBUG
  line += "; NOT OPTIMISED: build with -c opt";
#endif
  return line;
}

}  // namespace benchmarks
