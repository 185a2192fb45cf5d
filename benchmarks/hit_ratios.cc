#include "benchmarks/hit_ratios.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "benchmarks/table.h"

namespace benchmarks {
namespace {

// OLTP, a trace of the paper "ARC: A Self-Tuning, Low Overhead Replacement Cache", FAST 2003.
constexpr struct {
  uint32_t frames;
  double gap_min;
} kOltp[] = {{1'000, .35}, {2'000, .22}, {5'000, .12}, {10'000, .12}, {15'000, .10}};

constexpr double kBelowLruMax = 1;
constexpr double kGapJudged = 0.5;

std::string NameOf(const std::string& path) { return std::filesystem::path(path).filename(); }

bool IsOltp(const std::string& path) { return NameOf(path).starts_with("OLTP."); }

double Percent(uint64_t part, uint64_t whole) {
  return 100 * static_cast<double>(part) / static_cast<double>(whole);
}

double Ratio(uint64_t hits, const Replay& replay) { return Percent(hits, replay.references); }

std::string FormatBound(const HitRatioRow& row) {
  if (row.gap_min) return absl::StrFormat("gap closed ≥ %.2f", *row.gap_min);
  if (row.below_lru_max) return absl::StrFormat("ours ≥ LRU - %g", *row.below_lru_max);
  return "-";
}

std::string FormatMet(const HitRatioRow& row) {
  const std::optional<bool> met = Met(row);
  return !met ? "-" : *met ? "yes" : "no";
}

// With the quotes. What JSON does not allow in a string is escaped.
std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (static_cast<unsigned char>(c) < ' ') {
      absl::StrAppendFormat(&quoted, "\\u%04x", static_cast<unsigned>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

std::string JsonOf(const HitRatioRow& row) {
  const Replay& replay = row.replay;
  std::vector<std::string> members = {
      absl::StrCat("\"cache\": ", replay.frames),
      absl::StrFormat("\"lru_percent\": %.4f", Ratio(replay.lru, replay)),
      absl::StrFormat("\"ours_percent\": %.4f", Ratio(replay.ours, replay)),
      absl::StrFormat("\"opt_percent\": %.4f", Ratio(replay.opt, replay))};
  const double gap = GapClosed(replay);
  if (!std::isnan(gap)) members.push_back(absl::StrFormat("\"gap_closed\": %.4f", gap));
  if (row.gap_min) members.push_back(absl::StrFormat("\"gap_min\": %g", *row.gap_min));
  if (row.below_lru_max) {
    members.push_back(absl::StrFormat("\"below_lru_max\": %g", *row.below_lru_max));
  }
  if (const auto met = Met(row)) members.push_back(absl::StrCat("\"met\": ", *met ? 1 : 0));
  return absl::StrCat("{", absl::StrJoin(members, ", "), "}");
}

}  // namespace

std::vector<uint32_t> DefaultFrames(const std::string& path, const Trace& trace) {
  std::vector<uint32_t> frames;
  if (IsOltp(path)) {
    for (const auto& point : kOltp) frames.push_back(point.frames);
    return frames;
  }
  for (const uint32_t percent : {1u, 2u, 5u, 10u}) {
    const uint64_t count = uint64_t{trace.pages} * percent / 100;
    frames.push_back(static_cast<uint32_t>(std::max<uint64_t>(1, count)));
  }
  frames.erase(std::unique(frames.begin(), frames.end()), frames.end());
  return frames;
}

HitRatioRow Judge(const std::string& path, const Trace& trace, const Replay& replay) {
  HitRatioRow row{replay, std::nullopt, std::nullopt};
  if (IsOltp(path)) {
    const auto* const point = std::find_if(std::begin(kOltp), std::end(kOltp), [&](const auto& p) {
      return p.frames == replay.frames;
    });
    if (point != std::end(kOltp)) row.gap_min = point->gap_min;
    return row;
  }
  const bool small = uint64_t{10} * replay.frames <= trace.pages;
  if (small && Ratio(replay.opt, replay) - Ratio(replay.lru, replay) >= kGapJudged) {
    row.below_lru_max = kBelowLruMax;
  }
  return row;
}

std::optional<bool> Met(const HitRatioRow& row) {
  const Replay& replay = row.replay;
  if (row.gap_min) return GapClosed(replay) >= *row.gap_min;
  if (!row.below_lru_max) return std::nullopt;
  return Ratio(replay.ours, replay) >= Ratio(replay.lru, replay) - *row.below_lru_max;
}

std::string FormatText(const std::string& path, const Trace& trace,
                       const std::vector<HitRatioRow>& rows) {
  std::string text = absl::StrFormat(
      "%s: %s references to %s\n\n%8s | %8s | %7s | %7s | %7s | %10s | %-17s | met\n", NameOf(path),
      WithCommas(trace.references.size()), FormatPages(trace.pages), "cache", "of pages", "LRU",
      "ours", "OPT", "gap closed", "bound");
  text +=
      "---------+----------+---------+---------+---------+------------+-------------------+----\n";
  for (const HitRatioRow& row : rows) {
    const Replay& replay = row.replay;
    const double gap = GapClosed(replay);
    const std::string bound = FormatBound(row);
    // The sign "≥" is three bytes and one column.
    const int width = bound == "-" ? 17 : 19;
    absl::StrAppendFormat(
        &text, "%8s | %6.1f %% | %5.2f %% | %5.2f %% | %5.2f %% | %10s | %-*s | %s\n",
        WithCommas(replay.frames), Percent(replay.frames, trace.pages), Ratio(replay.lru, replay),
        Ratio(replay.ours, replay), Ratio(replay.opt, replay),
        std::isnan(gap) ? "-" : absl::StrFormat("%.3f", gap), width, bound, FormatMet(row));
  }
  return text;
}

std::string FormatJson(const std::string& path, const Trace& trace,
                       const std::vector<HitRatioRow>& rows) {
  std::vector<std::string> sizes;
  for (const HitRatioRow& row : rows) sizes.push_back("  " + JsonOf(row));
  return absl::StrCat("{\"trace\": ", Quoted(NameOf(path)),
                      ", \"references\": ", trace.references.size(), ", \"pages\": ", trace.pages,
                      ", \"sizes\": [\n", absl::StrJoin(sizes, ",\n"), "\n]}\n");
}

}  // namespace benchmarks
