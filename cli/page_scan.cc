#include "cli/page_scan.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"

namespace cli {
namespace {

constexpr size_t kBytesPerRead = size_t{1} << 20;

class Scan {
 public:
  Scan(os::File& file, uint32_t page_size)
      : file_(file), page_size_(page_size), buffer_(kBytesPerRead) {}

  void Read(uint64_t first, uint64_t count) {
    const os::Errno error = TryToRead(first, count);
    if (error.ok()) return;
    if (count == 1) return Note(first, error);
    for (uint64_t page = first; page < first + count; ++page) Read(page, 1);
  }
  std::vector<BadPages> bad() && { return std::move(bad_); }

 private:
  // A page may be larger than the buffer.
  os::Errno TryToRead(uint64_t first, uint64_t count) {
    uint64_t offset = first * page_size_;
    const uint64_t end = offset + count * page_size_;
    while (offset < end) {
      const size_t bytes = std::min<uint64_t>(end - offset, buffer_.size());
      const os::Result<size_t> read = file_.ReadAt(std::span(buffer_).first(bytes), offset);
      if (!read.ok()) return read.error();
      if (*read < bytes) return os::Errno(EINVAL);
      offset += bytes;
    }
    return os::kSuccess;
  }

  void Note(uint64_t page, os::Errno error) {
    if (!bad_.empty() && bad_.back().error == error &&
        bad_.back().first + bad_.back().count == page) {
      ++bad_.back().count;
    } else {
      bad_.push_back({.first = page, .count = 1, .error = error});
    }
  }

  os::File& file_;
  const uint64_t page_size_;
  std::vector<std::byte> buffer_;
  std::vector<BadPages> bad_;
};

}  // namespace

std::vector<BadPages> ScanPages(os::File& file, uint32_t page_size, uint64_t pages,
                                const std::function<void(uint64_t)>& progress) {
  Scan scan(file, page_size);
  const uint64_t step = std::max<uint64_t>(kBytesPerRead / page_size, 1);
  for (uint64_t page = 0; page < pages;) {
    const uint64_t count = std::min(step, pages - page);
    scan.Read(page, count);
    page += count;
    progress(page);
  }
  return std::move(scan).bad();
}

std::string BadPagesText(const std::vector<BadPages>& bad, size_t ranges_max) {
  std::string text;
  const size_t shown = std::min(bad.size(), ranges_max);
  for (size_t i = 0; i < shown; ++i) {
    const BadPages& range = bad[i];
    absl::StrAppend(&text,
                    i == 0                                     ? ""
                    : i > 0 && bad[i - 1].error == range.error ? ", "
                                                               : "; ",
                    range.first);
    if (range.count > 1) absl::StrAppend(&text, " to ", range.first + range.count - 1);
    if (i + 1 == shown || !(bad[i + 1].error == range.error)) {
      absl::StrAppend(&text, " (", range.error.Name(), ")");
    }
  }
  if (shown < bad.size()) absl::StrAppend(&text, " and ", bad.size() - shown, " more places");
  return text;
}

uint64_t CountOf(const std::vector<BadPages>& bad) {
  uint64_t count = 0;
  for (const BadPages& range : bad) count += range.count;
  return count;
}

}  // namespace cli
