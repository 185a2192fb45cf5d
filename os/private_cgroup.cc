#include "os/private_cgroup.h"

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

namespace os {
namespace {

Errno WriteFile(const std::string& path, const std::string& text) {
  const int file = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (file < 0) return Errno::Last();
  const bool done = write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const Errno error = done ? kSuccess : Errno::Last();
  (void)close(file);
  return error;
}

// Kills what runs in the cgroup and removes it. A process that ends leaves it a little later.
void Remove(const std::string& directory) {
  for (int round = 0; round < 500 && rmdir(directory.c_str()) != 0 && errno == EBUSY; ++round) {
    std::ifstream processes(directory + "/cgroup.procs");
    // 0: a process of another pid namespace, and to kill(2) the callers' own group.
    for (pid_t process = 0; processes >> process;) {
      if (process > 0 && process != getpid()) (void)kill(process, SIGKILL);
    }
    (void)usleep(10'000);
  }
}

void RemoveLeftOvers(const std::string& parent, std::string_view prefix) {
  std::vector<std::string> left;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(parent, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename();
    if (!name.starts_with(prefix)) continue;
    pid_t owner = 0;
    (void)std::from_chars(name.data() + prefix.size(), name.data() + name.size(), owner);
    if (owner > 0 && kill(owner, 0) != 0 && errno == ESRCH) left.push_back(entry->path());
  }
  for (const std::string& directory : left) Remove(directory);
}

}  // namespace

PrivateCgroup::PrivateCgroup(std::string home, std::string directory, int version)
    : home_(std::move(home)),
      directory_(std::move(directory)),
      version_(version),
      owner_(getpid()) {}

PrivateCgroup::PrivateCgroup(PrivateCgroup&& other) noexcept
    : home_(std::move(other.home_)),
      directory_(std::exchange(other.directory_, {})),
      version_(other.version_),
      owner_(other.owner_) {}

PrivateCgroup::~PrivateCgroup() {
  if (directory_.empty() || owner_ != getpid()) return;
  MemoryCgroup now;
  FindMemoryCgroup("/proc", "", now);
  if (now.directory.view() == directory_) (void)Leave();
  Remove(directory_);
}

Result<PrivateCgroup> PrivateCgroup::Create(uint64_t limit_bytes, std::string_view prefix) {
  static int made = 0;
  MemoryCgroup own;
  FindMemoryCgroup("/proc", "", own);
  if (own.version == 0) return Errno(ENOENT);
  const std::string home(own.directory.view());
  std::string parent = home;
  RemoveLeftOvers(parent, prefix);
  if (own.version == 2) {
    // A cgroup with processes of its own has none below it, the root excepted: then next to it.
    const Errno error = WriteFile(parent + "/cgroup.subtree_control", "+memory");
    if (!error.ok() && parent.size() <= own.mount_size) return error;
    if (!error.ok()) {
      parent.resize(parent.rfind('/'));
      RemoveLeftOvers(parent, prefix);
    }
  }
  PrivateCgroup group(
      home,
      parent + "/" + std::string(prefix) + std::to_string(getpid()) + "." + std::to_string(++made),
      own.version);
  if (mkdir(group.directory_.c_str(), 0755) != 0) {
    const Errno error = Errno::Last();
    group.directory_.clear();
    return error;
  }
  const char* const limit = own.version == 1 ? "/memory.limit_in_bytes" : "/memory.max";
  const Errno error = WriteFile(group.directory_ + limit, std::to_string(limit_bytes));
  if (!error.ok()) return error;
  return group;
}

Errno PrivateCgroup::Enter() const {
  return WriteFile(directory_ + "/cgroup.procs", std::to_string(getpid()));
}

Errno PrivateCgroup::Leave() const {
  return WriteFile(home_ + "/cgroup.procs", std::to_string(getpid()));
}

uint64_t PrivateCgroup::used_bytes() const {
  const char* const usage = version_ == 1 ? "/memory.usage_in_bytes" : "/memory.current";
  return ReadNumber((directory_ + usage).c_str()).value_or(0);
}

}  // namespace os
