#include "cli/stat.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/exit_code.h"
#include "cli/size_text.h"
#include "cli/table.h"
#include "mpool/metrics.h"
#include "os/process_memory.h"

namespace cli {
namespace {

using mpool::internal::FrameMarks;
using mpool::internal::PinReport;
using mpool::internal::PoolReport;

// Pins in the text, where not all were asked for.
constexpr size_t kPinsShown = 10;
constexpr int kLinesBetweenHeadings = 20;

// 1234567 as "1,234,567".
std::string Grouped(uint64_t number) {
  std::string text = absl::StrCat(number);
  for (size_t at = text.size(); at > 3;) {
    at -= 3;
    text.insert(at, ",");
  }
  return text;
}

double PercentOf(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

std::string Size(uint64_t bytes, const OutputOptions& options) {
  return options.bytes ? absl::StrCat(bytes) : ExactSizeText(bytes);
}

void AppendLine(std::string& text, const char* name, const std::string& value) {
  absl::StrAppendFormat(&text, "  %-10s %s\n", name, value);
}

bool IsDead(const PoolReport& report, int32_t pid) {
  return std::ranges::any_of(report.participants, [&](const auto& participant) {
    return participant.pid == pid && participant.alive == 0;
  });
}

std::string PinsText(const PoolReport& report, size_t most) {
  Table table({{"PAGE", true}, {"PINS", true}, {"PID", true}, {"THREAD", true}, {"FOR"}});
  for (const PinReport& pin : std::span(report.pins).first(std::min(most, report.pins.size()))) {
    const char* use = pin.for_writing != 0 ? "writing" : "reading or writing";
    table.AddRow({absl::StrCat(pin.page), absl::StrCat(pin.pins), absl::StrCat(pin.pid),
                  pin.thread == 0 ? "?" : absl::StrCat(pin.thread),
                  IsDead(report, pin.pid) ? "a process that is dead" : use});
  }
  std::string text;
  const std::string rows = table.ToString();
  for (size_t at = 0; at < rows.size();) {
    const size_t end = rows.find('\n', at);
    absl::StrAppend(&text, "    ", rows.substr(at, end - at), "\n");
    at = end + 1;
  }
  if (most < report.pins.size()) {
    absl::StrAppend(&text, "    and ", report.pins.size() - most, " more; -v shows all\n");
  }
  return text;
}

std::string ParticipantsText(const PoolReport& report) {
  std::vector<std::string> texts;
  for (const auto& participant : report.participants) {
    texts.push_back(absl::StrCat(participant.pid, participant.alive == 0 ? " (dead)" : ""));
  }
  return texts.empty() ? "none" : absl::StrJoin(texts, ", ");
}

Json PinJson(const PoolReport& report, const PinReport& pin) {
  return {{"page", pin.page},
          {"frame", pin.frame},
          {"pins", pin.pins},
          {"pid", pin.pid},
          {"thread", pin.thread == 0 ? Json() : Json(pin.thread)},
          {"for_writing", pin.for_writing != 0},
          {"holder_is_dead", IsDead(report, pin.pid)}};
}

Json PoolJson(const LivePool& pool) {
  Json object = HeadOf(pool);
  object["stats"] = JsonOf(pool.report.stats);
  Json participants = Json::array();
  for (const auto& participant : pool.report.participants) {
    participants.push_back({{"pid", participant.pid}, {"alive", participant.alive != 0}});
  }
  object["participants"] = std::move(participants);
  Json pins = Json::array();
  for (const PinReport& pin : pool.report.pins) pins.push_back(PinJson(pool.report, pin));
  object["pins"] = std::move(pins);
  return object;
}

Json ProcessJson(int32_t pid, const std::vector<LivePool>& pools) {
  const os::Result<os::ProcessMemory> memory = os::ProcessMemory::Of(pid);
  if (!memory.ok()) return nullptr;
  Json object = {{"pid", pid},
                 {"name", TextOrNull(memory->name)},
                 {"locked_bytes", memory->locked_bytes},
                 {"resident_bytes", memory->resident_bytes},
                 {"swapped_bytes", memory->swapped_bytes},
                 {"minor_faults", memory->minor_faults},
                 {"major_faults", memory->major_faults},
                 {"threads", memory->threads},
                 {"pinned_pages", nullptr}};
  for (const LivePool& pool : pools) {
    if (pool.pins && pool.pid == pid) object["pinned_pages"] = pool.pins->pages_locked;
  }
  return object;
}

std::string ProcessText(int32_t pid, const os::ProcessMemory& memory,
                        const OutputOptions& options) {
  std::string text = absl::StrFormat("process %d (%s)\n", pid, Printable(memory.name));
  AppendLine(text, "locked", Size(memory.locked_bytes, options));
  AppendLine(text, "resident",
             absl::StrCat(Size(memory.resident_bytes, options), ", in swap ",
                          Size(memory.swapped_bytes, options)));
  AppendLine(text, "faults",
             absl::StrCat(Grouped(memory.major_faults), " major, ", Grouped(memory.minor_faults),
                          " minor since it began"));
  return text;
}

// Puts out one reading. That it could not be written is told at the program's end.
void Print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  (void)std::fflush(stdout);
}

int PrintMetrics(const std::vector<LivePool>& pools) {
  std::vector<std::string> titles;
  std::vector<mpool::PoolMetrics> metrics;
  for (const LivePool& pool : pools) {
    titles.push_back(pool.shared && !TextOrNull(pool.report.key).is_null() ? pool.report.key
                                                                           : pool.Title());
  }
  for (size_t i = 0; i < pools.size(); ++i) metrics.push_back({titles[i], pools[i].report.stats});
  Print(mpool::OpenMetricsText(metrics) + "# EOF\n");
  return 0;
}

// What is meant, read again. The exit code, if there is no such pool.
std::optional<int> Look(const StatOptions& options, bool tells, std::vector<LivePool>& pools) {
  os::Result<LivePools> live = FindLivePools();
  if (!live.ok()) return FailToLook("stat", live.error());
  if (tells) PrintUnseen("stat", *live, options.verbosity);
  pools = options.which.empty() ? std::move(live->pools) : PoolsMeant(options.which, live->pools);
  return std::nullopt;
}

int RunIntervals(const StatOptions& options, std::vector<LivePool> pools) {
  if (pools.size() != 1) {
    return Fail("stat", kUsageError,
                pools.empty() ? "-i needs a pool"
                              : "-i shows one pool at a time; give its key or name, or use "
                                "`mpool top`");
  }
  StatOptions one = options;
  one.which = pools.front().report.name;
  struct mpool_stat before = pools.front().report.stats;
  auto then = std::chrono::steady_clock::now();
  for (uint64_t i = 0; options.count == 0 || i < options.count; ++i) {
    std::this_thread::sleep_for(std::chrono::duration<double>(options.interval_seconds));
    if (const std::optional<int> failed = Look(one, /*tells=*/false, pools)) return *failed;
    if (pools.empty()) return Fail("stat", kNotFound, "the pool is not there any more");
    const auto now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - then).count();
    const struct mpool_stat stats = pools.front().report.stats;
    if (options.json) {
      Print(StatJson(pools, std::nullopt).dump(-1, ' ', /*ensure_ascii=*/true) + "\n");
    } else {
      if (options.headings && i % kLinesBetweenHeadings == 0) Print(RateHeadings());
      Print(RateLine(before, stats, seconds));
    }
    if (std::ferror(stdout) != 0) return kFailure;  // nobody reads it any more
    before = stats;
    then = now;
  }
  return 0;
}

}  // namespace

std::string StatText(const LivePool& pool, const OutputOptions& options) {
  const PoolReport& report = pool.report;
  const struct mpool_stat& stats = report.stats;
  std::string text = absl::StrCat(pool.Title(), "  ", pool.Kind(), " pool\n");
  AppendLine(
      text, "file",
      absl::StrCat(report.file.empty() ? "-" : Printable(report.file), ", ",
                   Grouped(report.page_count), " pages of ", Size(report.page_size, options)));
  AppendLine(text, "processes", ParticipantsText(report));
  AppendLine(
      text, "frames",
      absl::StrFormat(
          "%s of %s, %s locked, %s dirty, %s pinned", Grouped(stats.frames),
          Grouped(report.pages_max), Grouped(stats.frames_locked), Grouped(stats.dirty),
          Grouped(static_cast<uint64_t>(std::ranges::count_if(report.frames, [](FrameMarks marks) {
            return (marks & mpool::internal::kFramePinned) != 0;
          })))));
  AppendLine(text, "gets",
             absl::StrFormat("%s, of which %.2f %% were hits", Grouped(stats.gets),
                             PercentOf(stats.hits, stats.gets)));
  AppendLine(
      text, "pages",
      absl::StrFormat("%s read (%s ahead), %s written (%s in the background), %s evicted",
                      Grouped(stats.page_ins), Grouped(stats.prefetched), Grouped(stats.page_outs),
                      Grouped(stats.writer_outs), Grouped(stats.evictions)));
  AppendLine(text, "waits",
             absl::StrFormat("%s for other threads; %s syncs", Grouped(stats.waits),
                             Grouped(stats.syncs)));
  if (stats.read_errors + stats.write_errors + stats.pin_failures > 0) {
    AppendLine(text, "failures",
               absl::StrFormat("%s pages not read, %s not written, %s not had for want of a frame",
                               Grouped(stats.read_errors), Grouped(stats.write_errors),
                               Grouped(stats.pin_failures)));
  }
  if (stats.recoveries > 0) {
    AppendLine(text, "deaths",
               absl::StrFormat("cleaned up after %s times; %s pages were suspect",
                               Grouped(stats.recoveries), Grouped(stats.suspects)));
  }
  AppendLine(text, "pins", Grouped(stats.pins));
  const size_t most = options.verbosity > 0 ? report.pins.size() : kPinsShown;
  if (!report.pins.empty() && options.verbosity >= 0)
    absl::StrAppend(&text, PinsText(report, most));
  return text;
}

Json StatJson(const std::vector<LivePool>& pools, const std::optional<int32_t>& pid) {
  Json objects = Json::array();
  for (const LivePool& pool : pools) objects.push_back(PoolJson(pool));
  return {{"schema", "mpool.stat/1"},
          {"process", pid ? ProcessJson(*pid, pools) : Json()},
          {"pools", std::move(objects)}};
}

std::string RateHeadings() {
  return absl::StrFormat("%10s %7s %9s %9s %9s %9s %9s %7s\n", "GETS/s", "HIT%", "READ/s",
                         "WRITTEN/s", "EVICTED/s", "WAITS/s", "DIRTY", "PINS");
}

std::string RateLine(const struct mpool_stat& before, const struct mpool_stat& now,
                     double seconds) {
  const auto more = [&](uint64_t mpool_stat::*field) {
    return now.*field - std::min(now.*field, before.*field);
  };
  const auto rate = [&](uint64_t mpool_stat::*field) {
    return seconds > 0 ? static_cast<double>(more(field)) / seconds : 0;
  };
  using Stat = struct mpool_stat;
  return absl::StrFormat("%10.0f %7.2f %9.0f %9.0f %9.0f %9.0f %9d %7d\n", rate(&Stat::gets),
                         PercentOf(more(&Stat::hits), more(&Stat::gets)), rate(&Stat::page_ins),
                         rate(&Stat::page_outs), rate(&Stat::evictions), rate(&Stat::waits),
                         now.dirty, now.pins);
}

int RunStat(const StatOptions& options) {
  std::vector<LivePool> pools;
  if (const std::optional<int> failed = Look(options, /*tells=*/true, pools)) return *failed;
  // A process is something to tell of, though it has no pools.
  std::optional<int32_t> pid = PidIn(options.which);
  if (pid && std::ranges::any_of(pools, [&](const LivePool& pool) { return !pool.IsOf(*pid); })) {
    pid.reset();  // it is a key
  }
  std::optional<os::ProcessMemory> memory;
  if (pid) {
    if (os::Result<os::ProcessMemory> read = os::ProcessMemory::Of(*pid); read.ok()) {
      memory = std::move(*read);
    } else if (pools.empty() &&
               (read.error() == os::Errno(EACCES) || read.error() == os::Errno(EPERM))) {
      return Fail("stat", kNoPermission,
                  absl::StrCat("process ", *pid, " may not be looked at by this user"));
    }
  }
  if (pools.empty() && !memory && !options.which.empty()) {
    return FailToFindPool("stat", options.which);
  }
  if (options.interval_seconds > 0) return RunIntervals(options, std::move(pools));
  if (options.open_metrics) return PrintMetrics(pools);
  if (options.json) {
    Print(JsonText(StatJson(pools, memory ? pid : std::nullopt)));
    return 0;
  }
  std::string text;
  if (memory) text = ProcessText(*pid, *memory, options);
  for (const LivePool& pool : pools) {
    absl::StrAppend(&text, text.empty() ? "" : "\n", StatText(pool, options));
  }
  Print(text);
  if (pools.empty() && options.verbosity >= 0) {
    (void)Fail("stat", 0,
               "no pools can be seen. A pool of one process is seen if the program opens it so, or "
               "runs with MPOOL_PUBLISH=1");
  }
  return 0;
}

Command AddStat(CLI::App& app) {
  CLI::App* stat = app.add_subcommand("stat", "Show what pools do, and who has pages pinned");
  auto options = std::make_shared<StatOptions>();
  stat->add_option("POOL", options->which, "Its key or name, or a process; else all pools");
  stat->add_option("-i,--interval", options->interval_seconds, "A line every so many seconds")
      ->type_name("SEC")
      ->check(CLI::Range(0.01, 1e6));
  stat->add_option("-c,--count", options->count, "So many lines, then end")->type_name("N");
  stat->add_flag("--openmetrics", options->open_metrics, "As OpenMetrics text, for Prometheus");
  AddJsonOption(*stat, *options);
  AddBytesOption(*stat, *options);
  AddVerbosityOptions(*stat, *options);
  return {stat, [options] { return RunStat(*options); }};
}

}  // namespace cli
