// PageNumber, PageCount and PageRange: positions and lengths counted in the MMU's pages.
//
// Bytes and pages are different types here, so that a length in bytes cannot be passed where pages
// are meant, and the rounding from one to the other happens in one checked place: mlock(2) itself
// answers success to mlock(p, SIZE_MAX), because its rounding wraps to zero.

#ifndef OS_PAGE_RANGE_H_
#define OS_PAGE_RANGE_H_

#include <algorithm>
#include <bit>
#include <cerrno>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "os/errno.h"
#include "os/result.h"

namespace os {

// How many pages. Arithmetic is that of uint64_t; a page count of an address space cannot wrap it.
class PageCount {
 public:
  constexpr PageCount() = default;
  constexpr explicit PageCount(uint64_t pages) : pages_(pages) {}

  constexpr uint64_t value() const { return pages_; }
  // Precondition: the result fits; every range made by PageRange::Covering does.
  constexpr size_t bytes(size_t page_size) const { return static_cast<size_t>(pages_) * page_size; }

  constexpr PageCount& operator+=(PageCount other) {
    pages_ += other.pages_;
    return *this;
  }
  constexpr PageCount& operator-=(PageCount other) {
    pages_ -= other.pages_;
    return *this;
  }
  friend constexpr PageCount operator+(PageCount a, PageCount b) { return a += b; }
  friend constexpr PageCount operator-(PageCount a, PageCount b) { return a -= b; }
  friend constexpr auto operator<=>(PageCount, PageCount) = default;

 private:
  uint64_t pages_ = 0;
};

// The number of a page: its address divided by the page size.
class PageNumber {
 public:
  constexpr PageNumber() = default;
  constexpr explicit PageNumber(uint64_t number) : number_(number) {}

  constexpr uint64_t value() const { return number_; }
  constexpr uintptr_t address(size_t page_size) const {
    return static_cast<uintptr_t>(number_) * page_size;
  }

  friend constexpr PageNumber operator+(PageNumber page, PageCount count) {
    return PageNumber(page.number_ + count.value());
  }
  // Precondition: a is not before b.
  friend constexpr PageCount operator-(PageNumber a, PageNumber b) {
    return PageCount(a.number_ - b.number_);
  }
  friend constexpr auto operator<=>(PageNumber, PageNumber) = default;

 private:
  uint64_t number_ = 0;
};

// The pages [begin, end). An empty range has begin == end.
class PageRange {
 public:
  constexpr PageRange() = default;
  // Precondition: begin <= end.
  constexpr PageRange(PageNumber begin, PageNumber end) : begin_(begin), end_(end) {}
  constexpr PageRange(PageNumber begin, PageCount count) : begin_(begin), end_(begin + count) {}

  // The pages that hold any of the `bytes` bytes at `address`, which need not be aligned.
  // `page_size` is in bytes, a power of two. Length 0 gives an empty range.
  // EINVAL: address + bytes, or its rounding up to a page, is beyond the last address.
  static Result<PageRange> Covering(uintptr_t address, size_t bytes, size_t page_size) {
    const int shift = std::countr_zero(page_size);  // two divisions would be felt in a nested pin
    const PageNumber first(address >> shift);
    if (bytes == 0) return PageRange(first, first);
    constexpr uintptr_t kLastAddress = std::numeric_limits<uintptr_t>::max();
    if (bytes - 1 > kLastAddress - address) return Errno(EINVAL);
    const uintptr_t last_byte = address + (bytes - 1);
    if (last_byte > kLastAddress - page_size) return Errno(EINVAL);
    return PageRange(first, PageNumber((last_byte >> shift) + 1));
  }

  constexpr PageNumber begin() const { return begin_; }
  constexpr PageNumber end() const { return end_; }
  constexpr PageCount count() const { return end_ - begin_; }
  constexpr bool empty() const { return begin_ == end_; }
  constexpr bool contains(PageNumber page) const { return begin_ <= page && page < end_; }

  // The pages in both; empty where there are none.
  constexpr PageRange Intersection(PageRange other) const {
    const PageNumber begin = std::max(begin_, other.begin_);
    const PageNumber end = std::min(end_, other.end_);
    return begin < end ? PageRange(begin, end) : PageRange(begin, begin);
  }

  // Address of the first byte, and length in bytes, for the kernel.
  void* address(size_t page_size) const {
    return reinterpret_cast<void*>(begin_.address(page_size));
  }
  constexpr size_t bytes(size_t page_size) const { return count().bytes(page_size); }

  friend constexpr bool operator==(PageRange, PageRange) = default;

 private:
  PageNumber begin_;
  PageNumber end_;
};

}  // namespace os

#endif  // OS_PAGE_RANGE_H_
