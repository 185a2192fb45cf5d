// ScanPages: reads every page of a file and tells which cannot be read.

#ifndef CLI_PAGE_SCAN_H_
#define CLI_PAGE_SCAN_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "os/errno.h"
#include "os/file.h"

namespace cli {

// Neighbouring pages that cannot be read, all for the same reason.
struct BadPages {
  uint64_t first = 0;
  uint64_t count = 0;
  os::Errno error;  // EINVAL: the file has become shorter meanwhile
};

// Reads pages 0 to `pages` - 1, 1 MiB at a time; where that fails, page by page. The page cache
// answers for pages that are in it, as it does for a pool. After each step calls `progress` with
// the number of pages that it has tried so far. Allocates 1 MiB.
std::vector<BadPages> ScanPages(os::File& file, uint32_t page_size, uint64_t pages,
                                const std::function<void(uint64_t)>& progress);

// "17, 20 to 29 (EIO); 40 (EINVAL)": the first `ranges_max` of them, then "and N more".
std::string BadPagesText(const std::vector<BadPages>& bad, size_t ranges_max);
uint64_t CountOf(const std::vector<BadPages>& bad);

}  // namespace cli

#endif  // CLI_PAGE_SCAN_H_
