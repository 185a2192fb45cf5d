// PageFile: the file under a pool that is measured.
//
// The first word of each page is the number of another one, and following these numbers visits all
// pages in random order, for ever: keys that nobody can know before the page is read.

#ifndef BENCHMARKS_PAGE_FILE_H_
#define BENCHMARKS_PAGE_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

namespace benchmarks {

// Bytes in a page of every file and pool here.
inline constexpr uint32_t kPageBytes = 4096;

// Has no name, and is gone at its end. All blocks are written. Thread-safe.
class PageFile {
 public:
  enum class Place {
    kMemory,      // the page cache is all there is
    kDisk,        // $TEST_TMPDIR, $TMPDIR or /var/tmp
    kDiskDirect,  // the same, past the page cache (O_DIRECT)
  };

  PageFile(uint64_t pages, Place place);
  PageFile(const PageFile&) = delete;
  PageFile& operator=(const PageFile&) = delete;
  ~PageFile();

  int fd() const { return descriptor_; }
  uint64_t pages() const { return next_.size(); }
  // What the first word of the page says.
  uint32_t next(uint64_t page) const { return next_[page]; }

 private:
  void Write();

  std::vector<uint32_t> next_;
  int descriptor_;
};

// Why no file can be made in this place; "": one can.
std::string ObstacleTo(PageFile::Place place);

// The first word of a page.
inline uint64_t FirstWord(const void* page) { return *static_cast<const uint64_t*>(page); }

}  // namespace benchmarks

#endif  // BENCHMARKS_PAGE_FILE_H_
