#include "rsm/internal/memory_kind.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>

#include "os/memory.h"
#include "os/page_range.h"
#include "rsm/internal/error.h"

namespace rsm::internal {
namespace {

MemoryKind KindOf(const os::Mapping& mapping) {
  MemoryKind kind;
  if (!mapping.shared) return kind;
  kind.offset = mapping.file_offset;
  if (mapping.file_path.starts_with("/SYSV")) {
    kind.type = MemoryKind::Type::kSysV;
    kind.sysv = static_cast<int>(mapping.file.inode);
  } else {
    kind.type = MemoryKind::Type::kFile;
    kind.file = os::FileNumberOf(mapping.file);
  }
  return kind;
}

bool IsInMemory(const os::Mapping& mapping) {
  return mapping.file_path.starts_with("/memfd:") || mapping.file_path.starts_with("/SYSV");
}

int CheckMapping(const os::Mapping& mapping, void* address) {
  if (!mapping.accessible()) {
    return Fail(RSMERR_BAD_ADDR, "memory at %p is not accessible (PROT_NONE)", address);
  }
  if (!mapping.writable || !mapping.readable) {
    return Fail(RSMERR_PERM_DENIED,
                "memory at %p is not mapped for reading and writing; exported memory must be",
                address);
  }
  if (mapping.huge_pages) {
    return Fail(RSMERR_BAD_ADDR, "memory at %p is of hugetlbfs, which cannot be exported", address);
  }
  if (mapping.shared && !IsInMemory(mapping)) {
    return Fail(RSMERR_BAD_ADDR,
                "memory at %p is a shared mapping of %s; a file must be mapped MAP_PRIVATE, or be "
                "one of memfd_create(2)",
                address, mapping.file_path.empty() ? "no file" : mapping.file_path.c_str());
  }
  return RSM_SUCCESS;
}

int FailToLookUp(const void* address, os::Errno error) {
  return Fail(RSMERR_INSUFFICIENT_RESOURCES, "what is mapped at %p cannot be told: %s", address,
              std::strerror(error.code()));
}

bool HoldsAddress(uintptr_t begin, size_t bytes, const void* address) {
  return reinterpret_cast<uintptr_t>(address) - begin < bytes;
}

}  // namespace

int KindOfMemory(void* address, size_t bytes, MemoryKind& kind) {
  os::Memory& memory = os::RealMemory();
  const size_t page_size = memory.page_size();
  const auto begin = reinterpret_cast<uintptr_t>(address);
  const os::Result<os::PageRange> pages = os::PageRange::Covering(begin, bytes, page_size);
  if (!pages.ok()) {
    return Fail(RSMERR_BAD_ADDR, "%zu bytes at %p are beyond the address space", bytes, address);
  }
  if (HoldsAddress(begin, bytes, __builtin_frame_address(0))) {
    return Fail(RSMERR_BAD_ADDR, "%p is the calling thread's stack", address);
  }
  for (os::PageNumber at = pages->begin(); at < pages->end();) {
    const os::Result<std::optional<os::Mapping>> found = memory.MappingAt(at);
    void* const where = reinterpret_cast<void*>(at.address(page_size));
    if (!found.ok()) return FailToLookUp(where, found.error());
    if (!found->has_value() || (*found)->pages.begin() > at) {
      return Fail(RSMERR_BAD_ADDR, "nothing is mapped at %p", where);
    }
    const os::Mapping& mapping = **found;
    if (const int error = CheckMapping(mapping, where); error != RSM_SUCCESS) return error;
    MemoryKind here = KindOf(mapping);
    here.offset += (at - mapping.pages.begin()).bytes(page_size);
    if (at == pages->begin()) kind = here;
    const uint64_t expected = kind.offset + (at - pages->begin()).bytes(page_size);
    const bool continues =
        here.type == kind.type &&
        (kind.type == MemoryKind::Type::kPrivate ||
         (here.file == kind.file && here.sysv == kind.sysv && here.offset == expected));
    if (!continues) {
      return Fail(RSMERR_BAD_ADDR,
                  "memory at %p is of another kind, or another object, than that before it", where);
    }
    at = mapping.pages.end();
  }
  if (kind.type == MemoryKind::Type::kPrivate) kind.offset = 0;
  return RSM_SUCCESS;
}

int ForEachPartThatMaps(void* address, size_t bytes, os::FileNumber file, uint64_t offset,
                        absl::FunctionRef<void(void* address, size_t bytes)> visit) {
  os::Memory& memory = os::RealMemory();
  const size_t page_size = memory.page_size();
  const os::Result<os::PageRange> pages =
      os::PageRange::Covering(reinterpret_cast<uintptr_t>(address), bytes, page_size);
  if (!pages.ok()) return RSM_SUCCESS;
  os::PageNumber begin = pages->begin();  // of the part that ends at `at`
  const auto end_part = [&](os::PageNumber end) {
    if (begin < end) {
      visit(reinterpret_cast<void*>(begin.address(page_size)), (end - begin).bytes(page_size));
    }
  };
  for (os::PageNumber at = begin; at < pages->end();) {
    const os::Result<std::optional<os::Mapping>> found = memory.MappingAt(at);
    if (!found.ok()) {
      end_part(at);
      return FailToLookUp(address, found.error());
    }
    if (!found->has_value()) {
      end_part(at);
      return RSM_SUCCESS;
    }
    const os::Mapping& mapping = **found;
    const os::PageNumber next = std::min(mapping.pages.end(), pages->end());
    const bool is_it = mapping.pages.begin() <= at && mapping.shared &&
                       os::FileNumberOf(mapping.file) == file &&
                       mapping.file_offset + (at - mapping.pages.begin()).bytes(page_size) ==
                           offset + (at - pages->begin()).bytes(page_size);
    if (!is_it) {
      end_part(at);
      // Past a hole there may be what we look for.
      begin = mapping.pages.begin() > at ? std::min(mapping.pages.begin(), pages->end()) : next;
      at = begin;
    } else {
      at = next;
    }
  }
  end_part(pages->end());
  return RSM_SUCCESS;
}

int CheckMaps(void* address, size_t bytes, os::FileNumber file, uint64_t offset) {
  size_t mapped = 0;
  const int error = ForEachPartThatMaps(address, bytes, file, offset,
                                        [&](void*, size_t part) { mapped += part; });
  if (error != RSM_SUCCESS) return error;
  if (mapped == bytes) return RSM_SUCCESS;
  return Fail(RSMERR_BAD_ADDR, "a part of the segment's memory at %p is not mapped any more",
              address);
}

}  // namespace rsm::internal
