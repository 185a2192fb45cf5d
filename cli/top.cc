#include "cli/top.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/exit_code.h"
#include "cli/size_text.h"
#include "cli/table.h"
#include "os/interrupt.h"
#include "os/terminal.h"

namespace cli {
namespace {

using Stat = struct mpool_stat;

Table EmptyTable() {
  return Table({{"POOL"},
                {"KIND"},
                {"GETS/s", true},
                {"HIT%", true},
                {"READ/s", true},
                {"WRITTEN/s", true},
                {"EVICTED/s", true},
                {"WAITS/s", true, /*by_default=*/false},
                {"FRAMES", true},
                {"SIZE", true},
                {"DIRTY", true},
                {"PINS", true},
                {"PIDS"},
                {"FILE", false, /*by_default=*/false}});
}

const Stat* Find(const EarlierStats& earlier, const LivePool& pool) {
  const auto found = earlier.find(pool.report.name);
  return found == earlier.end() ? nullptr : &found->second;
}

uint64_t More(const Stat& before, const Stat& now, uint64_t Stat::*field) {
  return now.*field - std::min(now.*field, before.*field);
}

// nullopt: there was no earlier reading.
std::optional<double> Rate(const LivePool& pool, const EarlierStats& earlier, double seconds,
                           uint64_t Stat::*field) {
  const Stat* before = Find(earlier, pool);
  if (before == nullptr || seconds <= 0) return std::nullopt;
  return static_cast<double>(More(*before, pool.report.stats, field)) / seconds;
}

std::optional<double> HitPercent(const LivePool& pool, const EarlierStats& earlier) {
  const Stat* before = Find(earlier, pool);
  const Stat none = {};
  const Stat& from = before == nullptr ? none : *before;
  const uint64_t gets = More(from, pool.report.stats, &Stat::gets);
  if (gets == 0) return std::nullopt;
  return 100.0 * static_cast<double>(More(from, pool.report.stats, &Stat::hits)) /
         static_cast<double>(gets);
}

std::string Text(const std::optional<double>& number, int digits) {
  return number ? absl::StrFormat("%.*f", digits, *number) : "-";
}

Json OrNull(const std::optional<double>& number) { return number ? Json(*number) : Json(); }

std::vector<LivePool> BusiestFirst(std::vector<LivePool> pools, const EarlierStats& earlier,
                                   double seconds) {
  std::ranges::stable_sort(pools, [&](const LivePool& a, const LivePool& b) {
    return Rate(a, earlier, seconds, &Stat::gets).value_or(0) >
           Rate(b, earlier, seconds, &Stat::gets).value_or(0);
  });
  return pools;
}

// What a terminal shows: the old picture goes.
std::string Replacing(std::string picture, const os::TerminalSize& size) {
  std::string text = "\x1b[H";
  int line = 0;
  for (size_t at = 0; at < picture.size() && line + 1 < size.lines; ++line) {
    const size_t end = picture.find('\n', at);
    absl::StrAppend(
        &text, picture.substr(at, std::min<size_t>(end - at, static_cast<size_t>(size.columns))),
        "\x1b[K\n");
    at = end + 1;
  }
  return text + "\x1b[J";
}

std::string ClockText() {
  const std::time_t now = std::time(nullptr);
  std::tm local = {};
  char text[16] = "";
  if (localtime_r(&now, &local) != nullptr) {
    (void)std::strftime(text, sizeof(text), "%H:%M:%S", &local);
  }
  return text;
}

}  // namespace

std::string TopText(const std::vector<LivePool>& pools, const EarlierStats& earlier, double seconds,
                    const TopOptions& options) {
  Table table = EmptyTable();
  (void)table.Choose(options.columns);
  for (const LivePool& pool : BusiestFirst(pools, earlier, seconds)) {
    const Stat& stats = pool.report.stats;
    const auto rate = [&](uint64_t Stat::*field) {
      return Text(Rate(pool, earlier, seconds, field), 0);
    };
    const uint64_t bytes = stats.frames * pool.report.frame_stride;
    table.AddRow({pool.Title(), pool.Kind(), rate(&Stat::gets), Text(HitPercent(pool, earlier), 2),
                  rate(&Stat::page_ins), rate(&Stat::page_outs), rate(&Stat::evictions),
                  rate(&Stat::waits), absl::StrCat(stats.frames),
                  options.bytes ? absl::StrCat(bytes) : SizeText(bytes), absl::StrCat(stats.dirty),
                  absl::StrCat(stats.pins), absl::StrJoin(pool.Pids(), ","),
                  pool.report.file.empty() ? "-" : Printable(pool.report.file)});
  }
  return table.ToString(options.headings);
}

Json TopJson(const std::vector<LivePool>& pools, const EarlierStats& earlier, double seconds) {
  Json objects = Json::array();
  for (const LivePool& pool : BusiestFirst(pools, earlier, seconds)) {
    Json object = HeadOf(pool);
    const auto rate = [&](uint64_t Stat::*field) {
      return OrNull(Rate(pool, earlier, seconds, field));
    };
    object["pids"] = pool.Pids();
    object["gets_per_second"] = rate(&Stat::gets);
    object["hit_percent"] = OrNull(HitPercent(pool, earlier));
    object["page_ins_per_second"] = rate(&Stat::page_ins);
    object["page_outs_per_second"] = rate(&Stat::page_outs);
    object["evictions_per_second"] = rate(&Stat::evictions);
    object["waits_per_second"] = rate(&Stat::waits);
    object["stats"] = JsonOf(pool.report.stats);
    objects.push_back(std::move(object));
  }
  return {{"schema", "mpool.top/1"},
          {"seconds", earlier.empty() ? Json() : Json(seconds)},
          {"pools", std::move(objects)}};
}

int RunTop(const TopOptions& options) {
  if (const auto mistake = EmptyTable().Choose(options.columns)) {
    return Fail("top", kUsageError, *mistake);
  }
  const bool replaces = !options.json && os::IsTerminal(os::kStandardOutput);
  // On a terminal it ends in order, so that the terminal is as it was.
  std::optional<os::KeyReader> keys;
  std::optional<os::Interrupt> interrupt;
  if (replaces) {
    interrupt.emplace();
    keys.emplace();
  }
  EarlierStats earlier;
  auto then = std::chrono::steady_clock::now();
  if (replaces) std::fputs("\x1b[2J", stdout);
  for (uint64_t i = 0; options.count == 0 || i < options.count; ++i) {
    const os::Result<LivePools> live = FindLivePools();
    if (!live.ok()) return FailToLook("top", live.error());
    const auto now = std::chrono::steady_clock::now();
    const double seconds = std::chrono::duration<double>(now - then).count();
    std::string picture;
    if (options.json) {
      picture = TopJson(live->pools, earlier, seconds).dump(-1, ' ', /*ensure_ascii=*/true) + "\n";
    } else {
      if (replaces) picture = absl::StrCat("mpool top - ", ClockText(), "   (q ends)\n\n");
      picture += TopText(live->pools, earlier, seconds, options);
      if (replaces && live->pools.empty()) picture += "\nNo pools can be seen.\n";
      if (replaces)
        picture = Replacing(std::move(picture), os::SizeOfTerminal(os::kStandardOutput));
    }
    std::fwrite(picture.data(), 1, picture.size(), stdout);
    if (std::fflush(stdout) != 0) return kFailure;  // told at the program's end
    if (i == 0) PrintUnseen("top", *live, replaces ? -1 : options.verbosity);
    earlier.clear();
    for (const LivePool& pool : live->pools) earlier[pool.report.name] = pool.report.stats;
    then = now;
    if (options.count != 0 && i + 1 == options.count) break;
    const std::chrono::duration<double> wait(options.interval_seconds);
    if (!keys) {
      std::this_thread::sleep_for(wait);
    } else if (keys->WaitFor('q', std::chrono::duration_cast<std::chrono::milliseconds>(wait)) ||
               interrupt->requested()) {
      break;
    }
  }
  return 0;
}

Command AddTop(CLI::App& app) {
  CLI::App* top = app.add_subcommand("top", "Watch all pools, the busiest first");
  auto options = std::make_shared<TopOptions>();
  top->add_option("-i,--interval", options->interval_seconds, "Seconds between two pictures")
      ->type_name("SEC")
      ->check(CLI::Range(0.01, 1e6));
  top->add_option("-c,--count", options->count, "So many pictures, then end")->type_name("N");
  AddJsonOption(*top, *options);
  AddBytesOption(*top, *options);
  AddTableOptions(*top, *options);
  AddVerbosityOptions(*top, *options);
  return {top, [options] { return RunTop(*options); }};
}

}  // namespace cli
