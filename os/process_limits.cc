#include "os/process_limits.h"

#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "os/errno.h"
#include "os/line_reader.h"

namespace os {
namespace {

constexpr int kCapIpcLock = 14;

std::string_view NextWord(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  const std::string_view word = text.substr(0, text.find_first_of(" \t"));
  text.remove_prefix(word.size());
  return word;
}

// "unlimited", or a number. Outer nullopt: neither.
std::optional<std::optional<uint64_t>> ParseLimit(std::string_view word) {
  if (word == "unlimited") return std::optional<uint64_t>();
  const std::optional<uint64_t> number = ParseNumber(word);
  if (!number) return std::nullopt;
  return number;
}

// "Max locked memory         8388608              8388608              bytes".
void ReadLimits(const std::string& directory, ProcessLimits& limits) {
  LineReader lines((directory + "/limits").c_str());
  while (const std::optional<std::string_view> line = lines.Next()) {
    const auto read = [&line](std::string_view key, std::optional<ByteLimit>& limit) {
      std::string_view rest = ValueOf(*line, key).value_or(std::string_view());
      const auto soft = ParseLimit(NextWord(rest));
      const auto hard = ParseLimit(NextWord(rest));
      if (soft && hard) limit = ByteLimit{*soft, *hard};
    };
    read("Max locked memory", limits.memlock);
    read("Max resident set", limits.rss);
  }
}

void ReadStatus(const std::string& directory, ProcessLimits& limits) {
  LineReader lines((directory + "/status").c_str());
  limits.has_memory = !lines.ok();  // without it nothing is known
  while (const std::optional<std::string_view> line = lines.Next()) {
    if (const auto name = ValueOf(*line, "Name")) limits.name = *name;
    if (auto uids = ValueOf(*line, "Uid")) {
      (void)NextWord(*uids);  // the real one
      if (const auto uid = ParseNumber(NextWord(*uids))) limits.uid = static_cast<uint32_t>(*uid);
    }
    if (const auto kib = ValueOf(*line, "VmLck")) {
      limits.has_memory = true;
      if (const auto number = ParseNumber(*kib)) limits.locked_bytes = *number * 1024;
    }
    if (const auto set = ValueOf(*line, "CapEff")) {
      if (const auto bits = ParseNumber(*set, 16)) {
        limits.claims_lock_capability = (*bits >> kCapIpcLock & 1) != 0;
      }
    }
    if (auto pids = ValueOf(*line, "NSpid")) {
      while (const auto pid = ParseNumber(NextWord(*pids))) {
        limits.namespace_pids.push_back(static_cast<int>(*pid));
      }
    }
  }
}

void ReadUserNamespace(const std::string& proc_root, const std::string& directory,
                       ProcessLimits& limits) {
  struct stat own {};
  struct stat other {};
  if (stat((proc_root + "/self/ns/user").c_str(), &own) == 0 &&
      stat((directory + "/ns/user").c_str(), &other) == 0) {
    limits.shares_user_namespace = own.st_ino == other.st_ino && own.st_dev == other.st_dev;
  }
  const Result<bool> initial = IsInitialUidMap((directory + "/uid_map").c_str());
  if (initial.ok()) limits.in_initial_user_namespace = *initial;
}

void CountMappings(const std::string& directory, ProcessLimits& limits) {
  const Result<uint64_t> count = CountMappingsIn((directory + "/maps").c_str());
  if (count.ok() && *count > 0) limits.mappings = *count;
}

}  // namespace

Result<ProcessLimits> ReadProcessLimits(int pid, const std::string& proc_root) {
  ProcessLimits limits;
  limits.pid = pid;
  const std::string directory = proc_root + "/" + std::to_string(pid);
  if (access(directory.c_str(), F_OK) != 0) {
    // Mounted with hidepid, /proc does not show the processes of others.
    const bool is_hidden = proc_root == "/proc" && kill(pid, 0) != 0 && errno == EPERM;
    return Errno(is_hidden ? EACCES : ENOENT);
  }
  ReadStatus(directory, limits);
  ReadLimits(directory, limits);
  ReadUserNamespace(proc_root, directory, limits);
  CountMappings(directory, limits);
  if (access(directory.c_str(), F_OK) != 0) return Errno(ENOENT);  // it has ended meanwhile
  return limits;
}

std::string UserName(uint32_t uid) {
  std::array<char, 16384> buffer;
  passwd entry{};
  passwd* found = nullptr;
  if (getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr) {
    return {};
  }
  return entry.pw_name;
}

}  // namespace os
