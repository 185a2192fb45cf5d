// TestMapping: a mapping that a test may damage, and the kernel's own locks.
//
// The tests play the application here, adversary included, so they call the kernel directly and do
// not go through os/.

#ifndef TESTS_SUPPORT_TEST_MAPPING_H_
#define TESTS_SUPPORT_TEST_MAPPING_H_

#include <cstddef>

#include "os/errno.h"
#include "os/page_range.h"

namespace test_support {

// Bytes in a page of the MMU.
size_t PageSize();

// mlock(2) and munlock(2) themselves: the C library's are replaced by functions that do nothing
// under the sanitizers.
os::Errno RawMlock(const void* address, size_t bytes);
os::Errno RawMunlock(const void* address, size_t bytes);

// Lies far from every other mapping: its holes stay holes. Aborts where the kernel refuses
// anything. Indices and counts are in pages. Not thread-safe.
class TestMapping {
 public:
  // Private, anonymous, readable and writable; no page is resident.
  explicit TestMapping(size_t pages);
  // A shared mapping, readable and writable, of a file from its beginning.
  TestMapping(size_t pages, int descriptor);
  TestMapping(const TestMapping&) = delete;
  TestMapping& operator=(const TestMapping&) = delete;
  // Unmaps what is left.
  ~TestMapping();

  std::byte* page(size_t index) const { return begin_ + index * PageSize(); }
  os::PageRange range(size_t first, size_t count) const;
  os::PageRange all() const { return range(0, pages_); }

  void Unmap(size_t first, size_t count);
  // Maps fresh pages in the place of what was there (MAP_FIXED).
  void MapAgain(size_t first, size_t count);
  // PROT_NONE.
  void Forbid(size_t first, size_t count);
  void Allow(size_t first, size_t count);

 private:
  size_t pages_;
  std::byte* begin_;
};

}  // namespace test_support

#endif  // TESTS_SUPPORT_TEST_MAPPING_H_
