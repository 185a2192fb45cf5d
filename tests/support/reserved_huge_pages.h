// ReservedHugePages: huge pages that the machine has set aside (hugetlbfs), for a test.

#ifndef TESTS_SUPPORT_RESERVED_HUGE_PAGES_H_
#define TESTS_SUPPORT_RESERVED_HUGE_PAGES_H_

#include <cstdint>
#include <string>

namespace test_support {

// Sets aside so many pages of 2 MiB more than are in use (vm.nr_hugepages), and gives them back at
// its end. Takes root, and memory in pieces of 2 MiB. Not thread-safe, and one at a time on a machine:
// the test that uses it has the tag "exclusive".
class ReservedHugePages {
 public:
  explicit ReservedHugePages(uint64_t pages);
  ReservedHugePages(const ReservedHugePages&) = delete;
  ReservedHugePages& operator=(const ReservedHugePages&) = delete;
  ~ReservedHugePages();

  // Empty: they are there. Otherwise why not.
  const std::string& problem() const { return problem_; }
  // Those of the machine that nobody has.
  uint64_t free_pages() const;

 private:
  uint64_t before_ = 0;
  bool changed_ = false;
  std::string problem_;
};

}  // namespace test_support

#endif  // TESTS_SUPPORT_RESERVED_HUGE_PAGES_H_
