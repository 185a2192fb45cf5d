#include "tests/support/memory_cgroup.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <utility>
#include <vector>

#include "os/cgroup_mount.h"
#include "os/line_reader.h"

namespace test_support {
namespace {

// Followed by the number of the process that made it, and a number of that process' own.
constexpr std::string_view kPrefix = "mpool_test.";

os::Errno WriteFile(const std::string& path, const std::string& text) {
  const int file = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (file < 0) return os::Errno::Last();
  const bool done = write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const os::Errno error = done ? os::kSuccess : os::Errno::Last();
  (void)close(file);
  return error;
}

// Kills what runs in the cgroup and removes it. A process that ends leaves it a little later.
void Remove(const std::string& directory) {
  for (int round = 0; round < 500 && rmdir(directory.c_str()) != 0 && errno == EBUSY; ++round) {
    std::ifstream processes(directory + "/cgroup.procs");
    for (pid_t process = 0; processes >> process;) {
      if (process != getpid()) (void)kill(process, SIGKILL);
    }
    (void)usleep(10'000);
  }
}

void RemoveLeftOvers(const std::string& parent) {
  std::vector<std::string> left;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(parent, error)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with(kPrefix)) continue;
    pid_t owner = 0;
    (void)std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), owner);
    if (owner > 0 && kill(owner, 0) != 0 && errno == ESRCH) left.push_back(entry.path());
  }
  for (const std::string& directory : left) Remove(directory);
}

}  // namespace

MemoryCgroup::MemoryCgroup(std::string directory, int version)
    : directory_(std::move(directory)), version_(version), owner_(getpid()) {}

MemoryCgroup::MemoryCgroup(MemoryCgroup&& other) noexcept
    : directory_(std::exchange(other.directory_, {})),
      version_(other.version_),
      owner_(other.owner_) {}

MemoryCgroup::~MemoryCgroup() {
  if (!directory_.empty() && owner_ == getpid()) Remove(directory_);
}

std::optional<MemoryCgroup> MemoryCgroup::Create(uint64_t limit_bytes) {
  static int made = 0;
  os::MemoryCgroup own;
  os::FindMemoryCgroup("/proc", "", own);
  if (own.version == 0) return std::nullopt;
  std::string parent(own.directory.view());
  RemoveLeftOvers(parent);
  if (own.version == 2) {
    // A cgroup with processes of its own has none below it, the root excepted: then next to it.
    const os::Errno error = WriteFile(parent + "/cgroup.subtree_control", "+memory");
    if (!error.ok() && parent.size() > own.mount_size) parent.resize(parent.rfind('/'));
  }
  MemoryCgroup group(
      parent + "/" + std::string(kPrefix) + std::to_string(getpid()) + "." + std::to_string(++made),
      own.version);
  if (mkdir(group.directory_.c_str(), 0755) != 0) {
    group.directory_.clear();
    return std::nullopt;
  }
  const char* const limit = own.version == 1 ? "/memory.limit_in_bytes" : "/memory.max";
  if (!WriteFile(group.directory_ + limit, std::to_string(limit_bytes)).ok()) return std::nullopt;
  return group;
}

os::Errno MemoryCgroup::Enter() const {
  return WriteFile(directory_ + "/cgroup.procs", std::to_string(getpid()));
}

uint64_t MemoryCgroup::used_bytes() const {
  const char* const usage = version_ == 1 ? "/memory.usage_in_bytes" : "/memory.current";
  return os::ReadNumber((directory_ + usage).c_str()).value_or(0);
}

}  // namespace test_support
