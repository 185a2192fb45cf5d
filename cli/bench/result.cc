#include "cli/bench/result.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "cli/bench/time_text.h"

namespace cli::bench {
namespace {

std::string Name(Mode mode) { return std::string(ModeName(mode)); }

// "a", "a and b", "a, b and c".
std::string Listed(const std::vector<std::string>& items) {
  if (items.size() < 2) return absl::StrJoin(items, "");
  return absl::StrCat(absl::StrJoin(items.begin(), items.end() - 1, ", "), " and ", items.back());
}

std::string Faults(uint64_t count) {
  return absl::StrCat(count == 0 ? "no" : CountText(count), " major fault", count == 1 ? "" : "s");
}

std::string OtherFaults(const BenchResult& result) {
  std::vector<std::string> items;
  for (const ModeResult& mode : result.modes) {
    if (mode.mode == Mode::kPool) continue;
    items.push_back(absl::StrCat(Name(mode.mode), " took ",
                                 mode.faults.major == 0 ? "none" : CountText(mode.faults.major)));
  }
  return Listed(items);
}

std::string SlowTouches(const BenchResult& result, const ModeResult& pool) {
  std::vector<std::string> items;
  for (const ModeResult& mode : result.modes) {
    if (mode.mode == Mode::kPool || mode.faults.major == 0) continue;
    items.push_back(
        absl::StrCat(TimeText(mode.latency.Percentile(0.999)), " (", Name(mode.mode), ")"));
  }
  if (items.empty()) return "";
  return absl::StrCat(" One touch in a thousand took longer than ",
                      TimeText(pool.latency.Percentile(0.999)), " with the pool, and than ",
                      Listed(items), " without it.");
}

bool SomebodyLostPages(const BenchResult& result) {
  return std::ranges::any_of(result.modes, [](const ModeResult& mode) {
    return (mode.mode == Mode::kMalloc || mode.mode == Mode::kMmap) && mode.faults.major > 0;
  });
}

}  // namespace

std::string_view ModeName(Mode mode) {
  constexpr std::string_view kNames[] = {"malloc", "mmap", "mlock", "pool"};
  return kNames[static_cast<size_t>(mode)];
}

std::string_view ModeDescription(Mode mode) {
  constexpr std::string_view kTexts[] = {
      "a copy in anonymous memory", "a plain mapping of the file",
      "a copy in anonymous memory, locked", "mpool::PagePool: get, touch, put"};
  return kTexts[static_cast<size_t>(mode)];
}

std::string_view AdversaryName(Adversary adversary) {
  constexpr std::string_view kNames[] = {"none", "pageout", "pressure"};
  return kNames[static_cast<size_t>(adversary)];
}

const ModeResult* BenchResult::Find(Mode mode) const {
  const auto found = std::ranges::find(modes, mode, &ModeResult::mode);
  return found == modes.end() ? nullptr : &*found;
}

bool HasFinding(const BenchResult& result) {
  const ModeResult* pool = result.Find(Mode::kPool);
  return pool != nullptr && (pool->faults.major > 0 || pool->pool_misses.value_or(0) > 0);
}

bool IsComplete(const BenchResult& result) {
  return std::ranges::all_of(result.modes,
                             [](const ModeResult& mode) { return mode.latency.count() > 0; });
}

std::string Verdict(const BenchResult& result) {
  if (!IsComplete(result)) return "It ended before each way had a turn: that shows nothing.";
  const ModeResult* pool = result.Find(Mode::kPool);
  if (pool == nullptr) {
    return absl::StrCat("The pool was not measured. Major faults: ", OtherFaults(result), ".");
  }
  const bool alone = result.modes.size() == 1;
  if (pool->pool_misses.value_or(0) > 0) {
    return absl::StrCat("FINDING: the pool had to read ", CountText(*pool->pool_misses),
                        " pages again, and took ", Faults(pool->faults.major),
                        alone ? "" : absl::StrCat("; ", OtherFaults(result)), ".");
  }
  if (pool->faults.major > 0) {
    return absl::StrCat("FINDING: the pool took ", Faults(pool->faults.major),
                        alone ? "" : absl::StrCat("; ", OtherFaults(result)), ".");
  }
  if (alone) return "The pool took no major fault.";
  if (!SomebodyLostPages(result)) {
    return absl::StrCat(
        "Nothing was taken away from anybody, so this run compares little: the pool "
        "took no major fault; ",
        OtherFaults(result), ".");
  }
  return absl::StrCat("The pool took no major fault; ", OtherFaults(result), ".",
                      SlowTouches(result, *pool));
}

}  // namespace cli::bench
