// HugeArea: memory as good as a program can get it, for what a pool is compared with.
//
// Private, in huge pages as far as the kernel has them and the area reaches, resident and locked.

#ifndef BENCHMARKS_HUGE_AREA_H_
#define BENCHMARKS_HUGE_AREA_H_

#include <cstddef>

namespace benchmarks {

// Zeroed. Begins at a multiple of 2 MiB. Unlocked and unmapped at its end.
class HugeArea {
 public:
  explicit HugeArea(size_t bytes);
  HugeArea(const HugeArea&) = delete;
  HugeArea& operator=(const HugeArea&) = delete;
  ~HugeArea();

  std::byte* begin() const { return begin_; }
  size_t bytes() const { return bytes_; }

 private:
  size_t bytes_;
  void* reservation_;
  std::byte* begin_;
};

}  // namespace benchmarks

#endif  // BENCHMARKS_HUGE_AREA_H_
