#include "cli/map.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/exit_code.h"
#include "mpool/internal/frame.h"
#include "mpool/internal/pool_report.h"
#include "mpool/internal/shared_region.h"
#include "os/memory.h"
#include "os/process_memory.h"
#include "os/terminal.h"

namespace cli {
namespace {

using mpool::internal::FrameMarks;
using mpool::internal::FrameState;
using mpool::internal::PoolReport;

struct Cell {
  char sign;
  const char* meaning;
  Style style;
};
// What matters most comes first.
constexpr Cell kCells[] = {
    {'x', "not resident", Style::kBad},
    {'!', "suspect", Style::kBad},
    {'r', "being read", Style::kWarning},
    {'w', "being written", Style::kWarning},
    {'P', "pinned, dirty", Style::kWarning},
    {'p', "pinned", Style::kBold},
    {'d', "dirty", Style::kWarning},
    {'-', "clean", Style::kGood},
    {'.', "free", Style::kDim},
};

char SignOf(FrameMarks marks, bool resident) {
  const bool dirty = (marks & mpool::internal::kFrameDirty) != 0;
  const bool pinned = (marks & mpool::internal::kFramePinned) != 0;
  switch (static_cast<FrameState>(marks & mpool::internal::kFrameStateMask)) {
    case FrameState::kLoading:
      return 'r';
    case FrameState::kWriteback:
      return resident ? 'w' : 'x';
    case FrameState::kValid:
      if (!resident) return 'x';
      if ((marks & mpool::internal::kFrameSuspect) != 0) return '!';
      if (pinned) return dirty ? 'P' : 'p';
      return dirty ? 'd' : '-';
    case FrameState::kAbsent:
    case FrameState::kFree:
      break;
  }
  return '.';
}

// Where the frames of the pool lie in the process; nullopt: not there, or it may not be looked at.
std::optional<uint64_t> FramesIn(const LivePool& pool, int32_t pid) {
  if (!pool.shared) return pool.report.frames_at;
  const std::string path =
      absl::StrCat(mpool::internal::SharedRegion::kFolder, "/", pool.report.name);
  const os::Result<std::optional<uint64_t>> mapping = os::FindFileMapping(pid, path);
  if (!mapping.ok() || !mapping->has_value()) return std::nullopt;
  return **mapping + pool.report.frames_at;
}

// Of the frames [first, end) of the report, which lie side by side.
bool AppendPresent(const PoolReport& report, int32_t pid, uint64_t frames_at, uint64_t first,
                   uint64_t end, std::vector<bool>& frames) {
  if (first == end) return true;
  const uint64_t page = os::RealMemory().page_size();
  const uint64_t begin = frames_at + report.OffsetOf(first);
  const uint64_t first_page = begin / page;
  const uint64_t end_page = (begin + (end - first) * report.frame_stride + page - 1) / page;
  const os::Result<std::vector<bool>> present =
      os::PresentPages(pid, first_page * page, end_page - first_page);
  if (!present.ok() || present->size() < end_page - first_page) return false;
  for (uint64_t i = 0; i < end - first; ++i) {
    const uint64_t at = begin + i * report.frame_stride;
    bool all = true;
    for (uint64_t p = at / page; p <= (at + report.page_size - 1) / page; ++p) {
      all = all && (*present)[p - first_page];
    }
    frames.push_back(all);
  }
  return true;
}

}  // namespace

Residency ResidencyOf(const LivePool& pool) {
  const PoolReport& report = pool.report;
  Residency residency;
  for (const int32_t pid : pool.shared ? pool.Pids() : std::vector<int32_t>{pool.pid}) {
    if (!pool.IsOf(pid) || pid == 0) continue;  // of another pid namespace
    const std::optional<uint64_t> frames_at = FramesIn(pool, pid);
    std::vector<bool> present;
    const bool known =
        frames_at && AppendPresent(report, pid, *frames_at, 0, report.ordinary, present) &&
        AppendPresent(report, pid, *frames_at, report.ordinary, report.frames.size(), present);
    if (!known) continue;
    residency.pids.push_back(pid);
    residency.frames.resize(present.size());
    for (size_t i = 0; i < present.size(); ++i) {
      if (present[i]) residency.frames[i] = true;
    }
  }
  return residency;
}

// Of each frame; ' ': the frame has no memory now, as that of growth frames goes and comes back.
std::string SignsOf(const LivePool& pool, const Residency& residency) {
  std::string signs;
  for (size_t i = 0; i < pool.report.frames.size(); ++i) {
    const FrameMarks marks = pool.report.frames[i];
    const bool absent = (marks & mpool::internal::kFrameStateMask) == 0;
    const bool resident = i >= residency.frames.size() || residency.frames[i];
    signs += absent ? ' ' : SignOf(marks, resident);
  }
  return signs;
}

std::string CellsOf(const LivePool& pool, const Residency& residency) {
  std::string cells = SignsOf(pool, residency);
  std::erase(cells, ' ');
  return cells;
}

std::string MapText(const LivePool& pool, const Residency& residency, int columns, int lines,
                    bool color) {
  const std::string cells = CellsOf(pool, residency);
  const size_t width = static_cast<size_t>(std::max(columns - 2, 10));
  const size_t room = width * static_cast<size_t>(std::max(lines, 1));
  const size_t per_sign = std::max<size_t>((cells.size() + room - 1) / room, 1);
  std::string text = absl::StrCat(pool.Title(), "  ", pool.Kind(), " pool, ", cells.size(),
                                  cells.size() == 1 ? " frame" : " frames");
  if (per_sign > 1) absl::StrAppend(&text, ", ", per_sign, " to a sign");
  absl::StrAppend(&text, "\n");
  for (size_t at = 0, column = 0; at < cells.size(); at += per_sign) {
    const std::string_view part = std::string_view(cells).substr(at, per_sign);
    const auto* const worst = std::ranges::find_if(
        kCells, [&](const Cell& cell) { return part.find(cell.sign) != part.npos; });
    if (column == 0) text += "  ";
    text += Styled(std::string_view(&worst->sign, 1), worst->style, color);
    column = column + 1 < width ? column + 1 : 0;
    if (column == 0 || at + per_sign >= cells.size()) text += "\n";
  }
  for (const Cell& cell : kCells) {
    const auto count = std::ranges::count(cells, cell.sign);
    if (count == 0) continue;
    absl::StrAppend(&text, "  ", Styled(std::string_view(&cell.sign, 1), cell.style, color),
                    absl::StrFormat("  %-14s %d\n", cell.meaning, count));
  }
  absl::StrAppend(&text, residency.pids.empty()
                             ? std::string("  whether they are resident cannot be found out\n")
                             : absl::StrCat("  by the page tables of process ",
                                            absl::StrJoin(residency.pids, ", "), "\n"));
  return text;
}

Json MapJson(const LivePool& pool, const Residency& residency) {
  const std::string cells = CellsOf(pool, residency);
  Json counts = Json::object();
  constexpr std::pair<const char*, char> kNames[] = {
      {"not_resident", 'x'}, {"suspect", '!'},      {"reading", 'r'},
      {"writing", 'w'},      {"pinned_dirty", 'P'}, {"pinned", 'p'},
      {"dirty", 'd'},        {"clean", '-'},        {"free", '.'}};
  for (const auto& [name, sign] : kNames) counts[name] = std::ranges::count(cells, sign);
  Json object = {{"schema", "mpool.map/1"}};
  object.update(HeadOf(pool));
  object["looked_at_pids"] = residency.pids;
  object["counts"] = std::move(counts);
  object["cells"] = cells;
  return object;
}

namespace {

// Whether a frame's page is not resident, and not only because the frame has given it back since the
// pool was looked at: a moment later the same frame has a page that is not there.
bool IsMissingStill(const LivePool& pool, const Residency& residency) {
  const std::string before = SignsOf(pool, residency);
  if (before.find('x') == before.npos) return false;
  const os::Result<LivePools> live = FindLivePools();
  if (!live.ok()) return true;
  for (const LivePool& again : live->pools) {
    if (again.report.name != pool.report.name) continue;
    const std::string after = SignsOf(again, ResidencyOf(again));
    for (size_t i = 0; i < std::min(before.size(), after.size()); ++i) {
      if (before[i] == 'x' && after[i] == 'x') return true;
    }
  }
  return false;
}

}  // namespace

int RunMap(const MapOptions& options) {
  os::Result<LivePools> live = FindLivePools();
  if (!live.ok()) return FailToLook("map", live.error());
  PrintUnseen("map", *live, options.verbosity);
  const std::vector<LivePool> pools = PoolsMeant(options.which, live->pools);
  if (pools.empty()) return FailToFindPool("map", options.which);
  if (options.json && pools.size() > 1) {
    return Fail("map", kUsageError,
                absl::StrCat("process ", options.which, " has ", pools.size(),
                             " pools; give the key or name of one, as `mpool stat` shows them"));
  }
  const os::TerminalSize size = os::SizeOfTerminal(os::kStandardOutput);
  std::string text;
  bool finding = false;
  for (const LivePool& pool : pools) {
    const Residency residency = ResidencyOf(pool);
    finding = finding || IsMissingStill(pool, residency);
    absl::StrAppend(
        &text, text.empty() ? "" : "\n",
        options.json ? JsonText(MapJson(pool, residency))
                     : MapText(pool, residency, size.columns, size.lines / 2, UsesColor(options)));
  }
  std::fwrite(text.data(), 1, text.size(), stdout);
  return finding ? kFailure : 0;
}

Command AddMap(CLI::App& app) {
  CLI::App* map = app.add_subcommand("map", "Show what a pool's frames hold");
  auto options = std::make_shared<MapOptions>();
  map->add_option("POOL", options->which, "Key or name of a pool, or a process")->required();
  AddJsonOption(*map, *options);
  AddColorOption(*map, *options);
  AddVerbosityOptions(*map, *options);
  return {map, [options] { return RunMap(*options); }};
}

}  // namespace cli
