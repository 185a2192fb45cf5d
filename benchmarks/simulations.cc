#include "benchmarks/simulations.h"

#include <limits>
#include <list>
#include <optional>
#include <queue>
#include <utility>
#include <vector>

namespace benchmarks {
namespace {

constexpr uint64_t kNever = std::numeric_limits<uint64_t>::max();

// For each reference, when its page is asked for the next time.
std::vector<uint64_t> NextUses(const Trace& trace) {
  std::vector<uint64_t> next(trace.references.size());
  std::vector<uint64_t> seen(trace.pages, kNever);
  for (uint64_t at = trace.references.size(); at-- > 0;) {
    next[at] = std::exchange(seen[trace.references[at]], at);
  }
  return next;
}

}  // namespace

uint64_t LruHits(const Trace& trace, uint32_t frames) {
  std::list<uint32_t> cached;  // the most recently used first
  std::vector<std::optional<std::list<uint32_t>::iterator>> place(trace.pages);
  uint64_t hits = 0;
  for (const uint32_t page : trace.references) {
    if (place[page]) {
      ++hits;
      cached.splice(cached.begin(), cached, *place[page]);
      continue;
    }
    if (cached.size() == frames) {
      place[cached.back()].reset();
      cached.pop_back();
    }
    cached.push_front(page);
    place[page] = cached.begin();
  }
  return hits;
}

uint64_t OptHits(const Trace& trace, uint32_t frames) {
  const std::vector<uint64_t> next = NextUses(trace);
  // When a page is asked for next. Entries of the past are not taken out: those of pages that are
  // cached lie in the future, so they are on top.
  std::priority_queue<std::pair<uint64_t, uint32_t>> cached;
  std::vector<bool> is_cached(trace.pages);
  uint32_t count = 0;
  uint64_t hits = 0;
  for (uint64_t at = 0; at < trace.references.size(); ++at) {
    const uint32_t page = trace.references[at];
    if (is_cached[page]) {
      ++hits;
    } else if (count < frames) {
      ++count;
    } else {
      is_cached[cached.top().second] = false;
      cached.pop();
    }
    is_cached[page] = true;
    cached.emplace(next[at], page);
  }
  return hits;
}

}  // namespace benchmarks
