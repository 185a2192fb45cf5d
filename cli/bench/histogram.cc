#include "cli/bench/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace cli::bench {
namespace {

constexpr int kBits = 6;                  // of the place within a power of two
constexpr uint64_t kParts = 1u << kBits;  // 64
constexpr uint64_t kExact = 2 * kParts;   // values below have buckets of their own
constexpr int kPowers = 42;               // up to 2^42 ns
constexpr size_t kBuckets = static_cast<size_t>(kPowers - kBits) * kParts + kParts;

}  // namespace

Histogram::Histogram() : counts_(kBuckets) {}

size_t Histogram::IndexOf(uint64_t ns) {
  ns = std::min(ns, (uint64_t{1} << kPowers) - 1);
  if (ns < kExact) return static_cast<size_t>(ns);
  const int shift = static_cast<int>(std::bit_width(ns)) - 1 - kBits;
  return static_cast<size_t>(static_cast<uint64_t>(shift) * kParts + (ns >> shift));
}

uint64_t Histogram::LastOf(size_t index) {
  if (index < kExact) return index;
  const uint64_t shift = index / kParts - 1;
  return ((index - shift * kParts + 1) << shift) - 1;
}

void Histogram::Add(const Histogram& other) {
  for (size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  sum_ += other.sum_;
  max_ = std::max(max_, other.max_);
}

void Histogram::Clear() {
  std::ranges::fill(counts_, 0);
  count_ = sum_ = max_ = 0;
}

double Histogram::mean() const {
  return count_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(count_);
}

uint64_t Histogram::Percentile(double share) const {
  // Of 1,000 values the 999th is the one that 99.9% do not exceed, whatever 0.999 is in binary.
  const double place = std::ceil(share * static_cast<double>(count_) - 1e-6);
  const uint64_t wanted = std::clamp<uint64_t>(static_cast<uint64_t>(std::max(place, 1.0)), 1,
                                               std::max<uint64_t>(count_, 1));
  uint64_t seen = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    seen += counts_[i];
    if (seen >= wanted) return std::min(LastOf(i), max_);
  }
  return max_;
}

std::vector<Histogram::Bucket> Histogram::Buckets() const {
  std::vector<Bucket> buckets;
  for (size_t i = 0; i < counts_.size(); ++i) {
    if (counts_[i] > 0) buckets.push_back({std::min(LastOf(i), max_), counts_[i]});
  }
  return buckets;
}

}  // namespace cli::bench
