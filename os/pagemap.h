// CountPresentPages, CountOwnPages: what /proc/self/pagemap says of this process' page tables.
//
// Presence is asked by the PAGEMAP_SCAN ioctl (Linux 6.7), which costs about a microsecond for
// 2 MiB that are present, and by the entries where the kernel does not know it. Behind Memory.

#ifndef OS_PAGEMAP_H_
#define OS_PAGEMAP_H_

#include <cstddef>

#include "os/page_range.h"
#include "os/result.h"

namespace os {

// How many pages of the range are present. EINVAL: it lies beyond the address space. Other errors
// are those of opening and reading the file. Safe from every thread; `page_size` is in bytes.
Result<PageCount> CountPresentPages(PageRange pages, size_t page_size);

// The same from the entries alone.
Result<PageCount> CountPresentEntries(PageRange pages);

// How many pages of the range are present, anonymous, and mapped nowhere else: a write to one of
// them in a private mapping takes no other page. Not so the zero page. Reads the entries.
Result<PageCount> CountOwnPages(PageRange pages);

}  // namespace os

#endif  // OS_PAGEMAP_H_
