// PageIo: pages between frames and the file, through the caller's filters.
//
// Reads run pgin on the page before anyone else sees it. Writes run pgout on a private copy, so a
// page in a frame is never seen, nor left, in its written form. Called without the pool's latch;
// the filters may use the pool. Thread-safe; the filters must be, if the pool is used by several
// threads.

#ifndef MPOOL_INTERNAL_PAGE_IO_H_
#define MPOOL_INTERNAL_PAGE_IO_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "mpool/internal/frame.h"
#include "os/file.h"

namespace mpool::internal {

struct Filters {
  using Filter = void (*)(void* cookie, PageNumber page, void* bytes);
  Filter page_in = nullptr;   // after a page is read
  Filter page_out = nullptr;  // before a page is written
  void* cookie = nullptr;
};

class PageIo {
 public:
  PageIo(std::unique_ptr<os::File> file, uint32_t page_size)
      : file_(std::move(file)), page_size_(page_size) {}

  // Reads a page. One that the file does not have as a whole: EINVAL if `must_exist`, else it is
  // zero. Errors are those of reading; the frame's bytes are undefined then.
  os::Errno Read(PageNumber page, std::byte* frame, bool must_exist, const Filters& filters);

  // Reads many pages, without page_in. Of each the result is as that of Read.
  struct PageRead {
    PageNumber page = 0;
    std::byte* frame = nullptr;
    bool must_exist = false;
    os::Errno error;
  };
  static constexpr size_t kPagesPerRead = 64;
  // Precondition: at most kPagesPerRead.
  void ReadMany(std::span<PageRead> pages);

  // Writes runs of pages: of each the pages first_page, first_page + 1, … from the frames. The
  // errors are those of writing: any part of the run may have been written then. ENOMEM: no memory
  // for the copies that pgout needs.
  struct PageWrite {
    PageNumber first_page = 0;
    std::span<std::byte* const> frames;
    os::Errno error;
  };
  void WriteMany(std::span<PageWrite> writes, const Filters& filters);
  os::Errno Write(PageNumber first_page, std::span<std::byte* const> frames,
                  const Filters& filters) {
    PageWrite write{first_page, frames, {}};
    WriteMany({&write, 1}, filters);
    return write.error;
  }

  // Everything written is on stable storage once it returns success.
  os::Errno Sync() { return file_->Sync(); }
  os::Result<uint64_t> FileSize() const { return file_->Size(); }
  uint32_t page_size() const { return page_size_; }

  // Whether the calling thread is in a filter, of any pool: a Read or Write of its own cannot end
  // then before the filter has.
  static bool InFilter();

  // The most pages in a run, and in all runs of one WriteMany. What is kept of each is on the stack
  // of the thread that has to write, some 100 bytes.
  static constexpr size_t kPagesPerWrite = 256;
  static constexpr size_t kPagesPerWriteMany = 256;
  size_t pages_per_write() const;

 private:
  void WriteGroup(std::span<PageWrite> writes, const Filters& filters);
  os::Errno CheckRead(const os::Result<size_t>& bytes, std::byte* frame, bool must_exist) const;
  uint64_t OffsetOf(PageNumber page) const { return uint64_t{page} * page_size_; }

  const std::unique_ptr<os::File> file_;
  const uint32_t page_size_;
};

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_PAGE_IO_H_
