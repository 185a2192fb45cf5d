// FindMapping: one entry of this process' list of mappings, /proc/self/maps.
//
// Asks by the PROCMAP_QUERY ioctl (Linux 6.11), which costs a fraction of a microsecond, and reads
// the text where the kernel does not know it. For use after a failure, to find out its cause.

#ifndef OS_MAPPINGS_H_
#define OS_MAPPINGS_H_

#include <optional>
#include <string_view>

#include "os/memory.h"

namespace os {

// The first mapping that ends after `page`. nullopt: none. Errors: those of opening
// /proc/self/maps. Safe from every thread; enters the kernel. `page_size` is in bytes.
Result<std::optional<Mapping>> FindMapping(PageNumber page, size_t page_size);

// One line of /proc/self/maps, as of proc(5). nullopt: not such a line.
std::optional<Mapping> ParseMapsLine(std::string_view line, size_t page_size);

// The same answer by the ioctl alone. ENOTSUP: the kernel does not know it.
Result<std::optional<Mapping>> FindMappingByQuery(PageNumber page, size_t page_size);

// The same answer as FindMapping, from the text alone.
Result<std::optional<Mapping>> FindMappingInText(PageNumber page, size_t page_size);

}  // namespace os

#endif  // OS_MAPPINGS_H_
