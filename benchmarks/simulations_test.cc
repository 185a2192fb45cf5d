#include "benchmarks/simulations.h"

#include <algorithm>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace benchmarks {
namespace {

using Pages = std::vector<uint32_t>;

Trace MakeTrace(const Pages& references) {
  return {references, *std::max_element(references.begin(), references.end()) + 1};
}

TEST(LruHits, CountsByHand) {
  const Trace trace = MakeTrace({0, 1, 0, 2, 1, 0});
  EXPECT_EQ(LruHits(trace, 1), 0u);
  EXPECT_EQ(LruHits(trace, 2), 1u);  // 0; then 2 takes the place of 1, 1 that of 0, 0 that of 2
  EXPECT_EQ(LruHits(trace, 3), 3u);
}

TEST(OptHits, CountsByHand) {
  const Trace trace = MakeTrace({0, 1, 0, 2, 1, 0});
  EXPECT_EQ(OptHits(trace, 1), 0u);
  EXPECT_EQ(OptHits(trace, 2), 2u);  // 0; then 2 takes the place of 0, and 1 stays
  EXPECT_EQ(OptHits(trace, 3), 3u);
}

TEST(Hits, OfALoopThatDoesNotFit) {
  Pages loop;
  for (uint32_t i = 0; i < 40; ++i) loop.push_back(i % 4);
  EXPECT_EQ(LruHits(MakeTrace(loop), 3), 0u);
  EXPECT_EQ(OptHits(MakeTrace(loop), 3), 24u);  // two of three, after the first round
}

// As the definition says: a list of pages, the last used first.
uint64_t LruByDefinition(const Trace& trace, uint32_t frames) {
  Pages cached;
  uint64_t hits = 0;
  for (const uint32_t page : trace.references) {
    hits += static_cast<uint64_t>(std::erase(cached, page));
    cached.insert(cached.begin(), page);
    if (cached.size() > frames) cached.pop_back();
  }
  return hits;
}

// Tries every victim at every miss.
uint64_t BestFrom(const Trace& trace, size_t at, uint32_t frames, const Pages& cached) {
  if (at == trace.references.size()) return 0;
  const uint32_t page = trace.references[at];
  if (std::count(cached.begin(), cached.end(), page) > 0) {
    return 1 + BestFrom(trace, at + 1, frames, cached);
  }
  Pages with = cached;
  if (cached.size() < frames) {
    with.push_back(page);
    return BestFrom(trace, at + 1, frames, with);
  }
  uint64_t best = 0;
  for (size_t victim = 0; victim < cached.size(); ++victim) {
    with = cached;
    with[victim] = page;
    best = std::max(best, BestFrom(trace, at + 1, frames, with));
  }
  return best;
}

TEST(Hits, AreThoseOfBruteForce) {
  std::mt19937 random(1);
  std::uniform_int_distribution<uint32_t> any_page(0, 4);
  for (int round = 0; round < 300; ++round) {
    Pages references(12);
    for (uint32_t& page : references) page = any_page(random);
    const Trace trace = MakeTrace(references);
    for (uint32_t frames = 1; frames <= 5; ++frames) {
      EXPECT_EQ(LruHits(trace, frames), LruByDefinition(trace, frames))
          << testing::PrintToString(references) << ", " << frames << " frames";
      EXPECT_EQ(OptHits(trace, frames), BestFrom(trace, 0, frames, {}))
          << testing::PrintToString(references) << ", " << frames << " frames";
    }
  }
}

}  // namespace
}  // namespace benchmarks
