#include "mpool/internal/page_io.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <new>

namespace mpool::internal {
namespace {

// A write is bounded in bytes too, as pgout's copies of all its pages exist at once.
constexpr size_t kBytesPerWrite = size_t{1} << 20;
constexpr size_t kBytesOfCopies = size_t{4} << 20;

thread_local int filters_running = 0;

void Run(Filters::Filter filter, void* cookie, PageNumber page, std::byte* bytes) {
  ++filters_running;
  filter(cookie, page, bytes);
  --filters_running;
}

// As O_DIRECT wants them.
constexpr std::align_val_t kCopyAlignment{4096};

struct AlignedDelete {
  void operator()(std::byte* bytes) const { operator delete[](bytes, kCopyAlignment); }
};

}  // namespace

bool PageIo::InFilter() { return filters_running > 0; }

size_t PageIo::pages_per_write() const {
  return std::clamp<size_t>(kBytesPerWrite / page_size_, 1, kPagesPerWrite);
}

os::Errno PageIo::Read(PageNumber page, std::byte* frame, bool must_exist, const Filters& filters) {
  const os::Result<size_t> bytes = file_->ReadAt(std::span(frame, page_size_), OffsetOf(page));
  if (const os::Errno error = CheckRead(bytes, frame, must_exist); !error.ok()) return error;
  if (filters.page_in != nullptr) Run(filters.page_in, filters.cookie, page, frame);
  return os::kSuccess;
}

// What was read is a page, or there is none and it is zeros.
os::Errno PageIo::CheckRead(const os::Result<size_t>& bytes, std::byte* frame,
                            bool must_exist) const {
  if (!bytes.ok()) return bytes.error();
  if (*bytes == page_size_) return os::kSuccess;
  if (must_exist) return os::Errno(EINVAL);
  std::memset(frame, 0, page_size_);
  return os::kSuccess;
}

void PageIo::ReadMany(std::span<PageRead> pages) {
  std::array<os::ReadRequest, kPagesPerRead> requests;
  for (size_t i = 0; i < pages.size(); ++i) {
    requests[i].buffer = {pages[i].frame, page_size_};
    requests[i].offset = OffsetOf(pages[i].page);
  }
  file_->ReadMany(std::span(requests).first(pages.size()));
  for (size_t i = 0; i < pages.size(); ++i) {
    pages[i].error = CheckRead(requests[i].result, pages[i].frame, pages[i].must_exist);
  }
}

// In groups whose copies, if there is a pgout, are bounded in bytes.
void PageIo::WriteMany(std::span<PageWrite> writes, const Filters& filters) {
  if (filters.page_out == nullptr) return WriteGroup(writes, filters);
  while (!writes.empty()) {
    size_t count = 1, pages = writes[0].frames.size();
    while (count < writes.size() &&
           (pages + writes[count].frames.size()) * page_size_ <= kBytesOfCopies) {
      pages += writes[count++].frames.size();
    }
    WriteGroup(writes.first(count), filters);
    writes = writes.subspan(count);
  }
}

void PageIo::WriteGroup(std::span<PageWrite> writes, const Filters& filters) {
  std::array<std::span<const std::byte>, kPagesPerWriteMany> buffers;
  std::array<os::WriteRequest, kPagesPerWriteMany> requests;
  std::unique_ptr<std::byte[], AlignedDelete> copies;
  if (filters.page_out != nullptr) {
    size_t pages = 0;
    for (const PageWrite& write : writes) pages += write.frames.size();
    copies.reset(new (kCopyAlignment, std::nothrow) std::byte[pages * page_size_]);
    if (copies == nullptr) {
      for (PageWrite& write : writes) write.error = os::Errno(ENOMEM);
      return;
    }
  }
  size_t used = 0;
  for (size_t i = 0; i < writes.size(); ++i) {
    const size_t first = used;
    for (std::byte* const frame : writes[i].frames) {
      std::byte* bytes = frame;
      if (copies != nullptr) {
        bytes = copies.get() + used * page_size_;
        std::memcpy(bytes, frame, page_size_);
        const PageNumber page = writes[i].first_page + static_cast<PageNumber>(used - first);
        Run(filters.page_out, filters.cookie, page, bytes);
      }
      buffers[used++] = std::span<const std::byte>(bytes, page_size_);
    }
    requests[i] = {.buffers = std::span(buffers).subspan(first, used - first),
                   .offset = OffsetOf(writes[i].first_page)};
  }
  if (writes.size() == 1) {
    writes[0].error = file_->WriteAt(requests[0].buffers, requests[0].offset);
    return;
  }
  file_->WriteMany(std::span(requests).first(writes.size()));
  for (size_t i = 0; i < writes.size(); ++i) writes[i].error = requests[i].result;
}

}  // namespace mpool::internal
