// Histogram: how often each duration was seen, to within a 64th of it.
//
// Log-linear: below 128 ns every value has a bucket of its own; above, each power of two is divided
// into 64 buckets. So percentiles of millions of values cost 21 KiB and no sorting.

#ifndef CLI_BENCH_HISTOGRAM_H_
#define CLI_BENCH_HISTOGRAM_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace cli::bench {

// Not thread-safe. Allocates when it is made, and never after.
class Histogram {
 public:
  Histogram();

  // Nanoseconds; what is above some 73 minutes counts as that.
  void Add(uint64_t ns) {
    ++counts_[IndexOf(ns)];
    ++count_;
    sum_ += ns;
    if (ns > max_) max_ = ns;
  }
  void Add(const Histogram& other);
  void Clear();

  uint64_t count() const { return count_; }
  uint64_t max() const { return max_; }  // exact
  double mean() const;
  // The least value that at least this share (0 to 1) of all values does not exceed, rounded up to
  // the end of its bucket, but not above the greatest value. 0 where there are no values.
  uint64_t Percentile(double share) const;

  struct Bucket {
    uint64_t last;   // the greatest value that it takes
    uint64_t count;  // not 0
  };
  // In the order of their values.
  std::vector<Bucket> Buckets() const;

 private:
  static size_t IndexOf(uint64_t ns);
  static uint64_t LastOf(size_t index);

  std::vector<uint64_t> counts_;
  uint64_t count_ = 0;
  uint64_t sum_ = 0;
  uint64_t max_ = 0;
};

}  // namespace cli::bench

#endif  // CLI_BENCH_HISTOGRAM_H_
