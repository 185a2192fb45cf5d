// The bare kernel, as a program without this library would use it.
//
// What a library costs is told against the calls that it is built on, so the benchmarks make them
// themselves and do not go through os/. All of these end the program with status 1 where the kernel
// refuses: nothing here may fail in a benchmark that is worth anything.

#ifndef BENCHMARKS_BARE_H_
#define BENCHMARKS_BARE_H_

#include <cstddef>
#include <cstdint>
#include <functional>

namespace benchmarks {

// Bytes in a page of the MMU.
size_t PageSize();

// mlock(2) and munlock(2). By syscall(2), as os/ does it: the C library's functions do nothing
// under the sanitizers.
void BareLock(const void* address, size_t bytes);
void BareUnlock(const void* address, size_t bytes);

// mmap(2) and munmap(2) of one page that nobody touches.
void* MapPage();
void UnmapPage(void* page);

// A private anonymous mapping that the kernel joins with no neighbour, in small pages whatever the
// setting of transparent huge pages. Counts and indices are in pages. Unmapped at its end; what is
// locked in it is not unlocked before.
class Area {
 public:
  enum class Fill { kCold, kResident };
  // The first page is the first of a leaf of the lock table: aligned to 512 pages.
  Area(uint64_t pages, Fill fill);
  Area(const Area&) = delete;
  Area& operator=(const Area&) = delete;
  ~Area();

  std::byte* page(uint64_t index) const { return begin_ + index * PageSize(); }
  uint64_t pages() const { return pages_; }
  size_t bytes() const { return pages_ * PageSize(); }

 private:
  uint64_t pages_;
  std::byte* reservation_;
  std::byte* begin_;
};

// Lets the calling thread run on one CPU only: the `index`th of those that it may use.
void BindToCpu(size_t index);
// How many CPUs this thread may use.
size_t UsableCpus();

// Runs the function in a child made by fork(2), which has its memory but none of its locks. Returns
// what the function does. Precondition: no other thread runs.
double InChild(const std::function<double()>& function);

}  // namespace benchmarks

#endif  // BENCHMARKS_BARE_H_
