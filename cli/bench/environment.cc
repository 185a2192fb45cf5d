#include "cli/bench/environment.h"

#include <ctime>
#include <string>
#include <thread>

#include "os/cgroup_mount.h"
#include "os/limits.h"
#include "os/line_reader.h"

namespace cli::bench {
namespace {

std::string FirstLine(const char* path) {
  os::LineReader lines(path);
  const std::optional<std::string_view> line = lines.Next();
  return line ? std::string(*line) : "";
}

// The first value of the key in a file of lines "KEY : VALUE".
std::string ValueIn(const char* path, std::string_view key) {
  os::LineReader lines(path);
  while (const std::optional<std::string_view> line = lines.Next()) {
    if (!line->starts_with(key)) continue;
    const size_t colon = line->find(':');
    const size_t begin = colon == line->npos ? colon : line->find_first_not_of(" \t", colon + 1);
    if (begin != line->npos) return std::string(line->substr(begin));
  }
  return "";
}

uint64_t MeminfoBytes(std::string_view key) {
  return os::ParseNumber(ValueIn("/proc/meminfo", key)).value_or(0) * 1024;
}

// "always [madvise] never": the one in brackets.
std::string Chosen(const std::string& choices) {
  const size_t begin = choices.find('[');
  const size_t end = choices.find(']');
  return begin == choices.npos || end == choices.npos ? choices
                                                      : choices.substr(begin + 1, end - begin - 1);
}

std::string Now() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  char text[32];
  if (gmtime_r(&now, &utc) == nullptr) return "";
  return std::string(text, std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc));
}

void ReadCgroup(Environment& environment) {
  os::MemoryCgroup group;
  os::FindMemoryCgroup("/proc", "", group);
  if (group.version == 0) return;
  environment.cgroup = group.directory.view();
  (void)group.directory.Append(group.version == 1 ? "/memory.limit_in_bytes" : "/memory.max");
  const std::optional<uint64_t> limit = os::ReadNumber(group.directory.c_str());
  // Version 1 shows nearly 2^63 where there is none, version 2 a word.
  if (limit && *limit < uint64_t{1} << 60) environment.cgroup_limit_bytes = limit;
}

}  // namespace

Environment ReadEnvironment() {
  Environment environment;
  environment.version = MPOOL_VERSION;
  environment.date = Now();
  environment.kernel = FirstLine("/proc/sys/kernel/osrelease");
  environment.cpu = ValueIn("/proc/cpuinfo", "model name");
  environment.thp = Chosen(FirstLine("/sys/kernel/mm/transparent_hugepage/enabled"));
  environment.cpus = std::thread::hardware_concurrency();
  environment.memory_bytes = os::PhysicalMemoryBytes();
  environment.swap_bytes = MeminfoBytes("SwapTotal");
  environment.swap_free_bytes = MeminfoBytes("SwapFree");
  ReadCgroup(environment);
  environment.lock_limit_bytes = os::MemlockLimit().soft;
  environment.lock_privilege = os::RealLimits().Privileged();
  return environment;
}

}  // namespace cli::bench
