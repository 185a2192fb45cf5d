#include "tests/support/reserved_huge_pages.h"

#include <fstream>
#include <optional>

namespace test_support {
namespace {

constexpr char kFolder[] = "/sys/kernel/mm/hugepages/hugepages-2048kB/";

std::optional<uint64_t> Read(const char* name) {
  std::ifstream file(std::string(kFolder) + name);
  uint64_t pages = 0;
  if (!(file >> pages)) return std::nullopt;
  return pages;
}

// False where it may not be written. That there are so many then is not said.
bool SetReserved(uint64_t pages) {
  std::ofstream file(std::string(kFolder) + "nr_hugepages");
  file << pages << std::flush;
  return file.good();
}

}  // namespace

ReservedHugePages::ReservedHugePages(uint64_t pages) {
  const std::optional<uint64_t> before = Read("nr_hugepages");
  if (!before) {
    problem_ = "the kernel has no huge pages of 2 MiB to set aside";
    return;
  }
  before_ = *before;
  changed_ = SetReserved(before_ - free_pages() + pages);
  if (!changed_) {
    problem_ = "needs root, to set huge pages aside";
  } else if (free_pages() != pages) {
    problem_ = "memory is too fragmented for " + std::to_string(pages) + " huge pages";
  }
}

ReservedHugePages::~ReservedHugePages() {
  if (changed_) (void)SetReserved(before_);
}

uint64_t ReservedHugePages::free_pages() const { return Read("free_hugepages").value_or(0); }

}  // namespace test_support
