#include "cli/live_pools.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "cli/exit_code.h"
#include "cli/output.h"
#include "mpool/internal/publisher.h"
#include "mpool/internal/shared_region.h"
#include "mpool/metrics.h"

namespace cli {
namespace {

using mpool::internal::PoolReport;
using mpool::internal::PublishedProcess;
using mpool::internal::SharedRegion;

constexpr std::chrono::milliseconds kPatience{1000};

void AddShared(const SharedRegion::Description& one, LivePools& live) {
  os::Result<PoolReport> report = SharedRegion::Observe(one.name);
  if (report.ok()) {
    live.pools.push_back({.report = std::move(*report), .shared = true, .pins = {}});
  } else if (report.error() != os::Errno(ENOENT)) {  // else it has gone meanwhile
    live.unseen.push_back(absl::StrCat("the pool ", Printable(one.name), " is not shown: ",
                                       report.error() == os::Errno(EPROTO)
                                           ? "it is damaged, being made, or of another version"
                                           : std::strerror(report.error().code())));
  }
}

absl::string_view View(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

std::string LivePool::Title() const { return Printable(shared ? report.key : report.name); }

std::vector<int32_t> LivePool::Pids() const {
  std::vector<int32_t> pids;
  for (const auto& participant : report.participants) {
    if (std::ranges::count(pids, participant.pid) == 0) pids.push_back(participant.pid);
  }
  return pids;
}

bool LivePool::IsOf(int32_t process) const {
  if (!shared) return process == pid;
  return std::ranges::any_of(report.participants, [&](const auto& participant) {
    return participant.pid == process && participant.foreign == 0 && participant.alive != 0;
  });
}

os::Result<LivePools> FindLivePools() {
  os::Result<std::vector<SharedRegion::Description>> shared = SharedRegion::List();
  if (!shared.ok()) return shared.error();
  std::ranges::sort(*shared, {}, &SharedRegion::Description::key);
  LivePools live;
  for (const SharedRegion::Description& one : *shared) AddShared(one, live);

  std::vector<int32_t> silent;
  os::Result<std::vector<PublishedProcess>> processes =
      mpool::internal::AskPublished(kPatience, silent);
  if (!processes.ok()) {
    live.unseen.push_back(absl::StrCat("pools of one process are not shown: /proc/net/unix: ",
                                       std::strerror(processes.error().code())));
    return live;
  }
  for (PublishedProcess& process : *processes) {
    for (PoolReport& report : process.report.pools) {
      if (report.participants.empty()) continue;
      // As it is called here; what it says of itself may be another's number.
      const size_t dot = report.name.rfind('.');
      const std::string number = dot == std::string::npos ? "" : report.name.substr(dot);
      report.name = process.pid != 0 ? absl::StrCat(process.pid, number)
                                     : absl::StrCat(process.report.pid, number, "@",
                                                    process.report.pid_namespace);
      live.pools.push_back({.report = std::move(report),
                            .shared = false,
                            .pid = process.pid,
                            .pins = process.report.pins});
    }
  }
  for (const int32_t pid : silent) {
    live.unseen.push_back(absl::StrCat("process ", pid,
                                       " does not tell of its pools: it is stopped, or uses "
                                       "another version of mpool"));
  }
  return live;
}

std::optional<int32_t> PidIn(std::string_view text) {
  int32_t pid = 0;
  const bool is_number = text.find_first_not_of("0123456789") == text.npos;
  if (!is_number || !absl::SimpleAtoi(View(text), &pid) || pid <= 0) return std::nullopt;
  return pid;
}

std::vector<LivePool> PoolsMeant(std::string_view which, const std::vector<LivePool>& pools) {
  std::vector<LivePool> meant;
  for (const LivePool& pool : pools) {
    const bool is_its_key = pool.shared && (pool.report.key == which || pool.Title() == which);
    if (pool.report.name == which || is_its_key) meant.push_back(pool);
  }
  const std::optional<int32_t> pid = PidIn(which);
  if (!meant.empty() || !pid) return meant;
  std::ranges::copy_if(pools, std::back_inserter(meant),
                       [&](const LivePool& pool) { return pool.IsOf(*pid); });
  return meant;
}

void PrintUnseen(std::string_view command, const LivePools& live, int verbosity) {
  if (verbosity < 0) return;
  for (const std::string& line : live.unseen) {
    absl::FPrintF(stderr, "mpool %s: %s\n", View(command), line);
  }
}

int FailToFindPool(std::string_view command, std::string_view which) {
  return Fail(command, kNotFound,
              absl::StrFormat("no pool has the key or name '%s', and no process of that number "
                              "has one that can be seen; `mpool stat` lists those that there are. "
                              "A pool of one process is seen if the program opens it so, or runs "
                              "with MPOOL_PUBLISH=1",
                              Printable(which)));
}

int FailToLook(std::string_view command, os::Errno error) {
  return Fail(command, error == os::Errno(EACCES) ? kNoPermission : kFailure,
              absl::StrCat(SharedRegion::kFolder, ", where shared pools are, cannot be read: ",
                           std::strerror(error.code())));
}

Json JsonOf(const struct mpool_stat& stats) {
  Json object = Json::object();
  for (const mpool::Metric& metric : mpool::Metrics()) {
    const std::string unit = metric.unit;
    object[unit.empty() ? metric.name : absl::StrCat(metric.name, "_", unit)] = stats.*metric.field;
  }
  return object;
}

Json HeadOf(const LivePool& pool) {
  const PoolReport& report = pool.report;
  return {{"kind", pool.Kind()},
          {"key", TextOrNull(report.key)},
          {"key_hex", HexOrNull(report.key)},
          {"name", TextOrNull(report.name)},
          {"file", TextOrNull(report.file)},
          {"file_hex", HexOrNull(report.file)},
          {"page_bytes", report.page_size},
          {"pages_max", report.pages_max},
          {"page_count", report.page_count}};
}

}  // namespace cli
