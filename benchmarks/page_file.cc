#include "benchmarks/page_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "benchmarks/must.h"

namespace benchmarks {
namespace {

std::string DiskDirectory() {
  for (const char* name : {"TEST_TMPDIR", "TMPDIR"}) {
    if (const char* directory = std::getenv(name); directory != nullptr) return directory;
  }
  return "/var/tmp";
}

// -1: errno says why.
int Open(PageFile::Place place) {
  if (place == PageFile::Place::kMemory) return memfd_create("pages", MFD_CLOEXEC);
  std::string path = DiskDirectory() + "/pages.XXXXXX";
  const int direct = place == PageFile::Place::kDiskDirect ? O_DIRECT : 0;
  const int descriptor = mkostemp(path.data(), O_CLOEXEC | direct);
  // Where O_DIRECT is refused, the name is there already.
  const int error = errno;
  (void)unlink(path.c_str());
  errno = error;
  return descriptor;
}

// A permutation that is one cycle, by Sattolo's algorithm. The same for each run.
std::vector<uint32_t> RandomCycle(uint64_t count) {
  std::vector<uint32_t> next(count);
  std::iota(next.begin(), next.end(), 0u);
  std::mt19937_64 random(1);
  for (uint64_t i = count - 1; i > 0; --i) {
    std::swap(next[i], next[std::uniform_int_distribution<uint64_t>(0, i - 1)(random)]);
  }
  return next;
}

}  // namespace

PageFile::PageFile(uint64_t pages, Place place) : next_(RandomCycle(pages)) {
  descriptor_ = Open(place);
  Must(descriptor_ >= 0, "making a file of pages");
  Write();
}

PageFile::~PageFile() { close(descriptor_); }

void PageFile::Write() {
  constexpr uint64_t kBatchPages = 256;
  constexpr size_t kBatchBytes = size_t{kBatchPages} * kPageBytes;
  auto* const batch = static_cast<std::byte*>(std::aligned_alloc(kPageBytes, kBatchBytes));
  Must(batch != nullptr, "aligned_alloc");
  std::memset(batch, 0, kBatchBytes);
  for (uint64_t page = 0; page < pages();) {
    const uint64_t begin = page;
    for (; page < std::min(pages(), begin + kBatchPages); ++page) {
      const uint64_t word = next_[page];
      std::memcpy(batch + (page - begin) * kPageBytes, &word, sizeof(word));
    }
    const size_t bytes = (page - begin) * kPageBytes;
    const off_t offset = static_cast<off_t>(begin * kPageBytes);
    Must(pwrite(descriptor_, batch, bytes, offset) == static_cast<ssize_t>(bytes), "pwrite");
  }
  std::free(batch);
  Must(fdatasync(descriptor_) == 0, "fdatasync");
}

std::string ObstacleTo(PageFile::Place place) {
  const int descriptor = Open(place);
  if (descriptor >= 0) return close(descriptor), "";
  return absl::StrCat("no file of this kind in ", DiskDirectory(), ": ", std::strerror(errno));
}

}  // namespace benchmarks
