// The C interface: rsm_memseg_export_create(3) and what belongs to it, in the order in which they check.

#include <memory>
#include <span>
#include <utility>

#include "os/folder.h"
#include "os/latch.h"
#include "os/memory.h"
#include "rsm/internal/access.h"
#include "rsm/internal/controllers.h"
#include "rsm/internal/error.h"
#include "rsm/internal/export_segment.h"
#include "rsm/internal/guarded.h"
#include "rsm/internal/poll_bridge.h"
#include "rsm/rsmapi.h"

namespace rsm::internal {
namespace {

int FailWithoutSegment(const void* handle) {
  return Fail(
      RSMERR_BAD_SEG_HNDL,
      "%p is no exported segment; rsm_memseg_export_create gives one, until it is destroyed",
      handle);
}

int FailInChild() {
  return Fail(RSMERR_NOT_CREATOR,
              "the segment was created by the process that this one was forked from");
}

int FailWhilePolled() {
  return Fail(RSMERR_POLLFD_IN_USE,
              "somebody has the segment's descriptor for poll(2); rsm_memseg_release_pollfd first");
}

bool IsPageMultiple(uintptr_t value) { return value % os::RealMemory().page_size() == 0; }

int CheckMemory(void* address, size_t bytes) {
  if (!IsPageMultiple(reinterpret_cast<uintptr_t>(address)) || !IsPageMultiple(bytes)) {
    return Fail(RSMERR_BAD_MEM_ALIGNMENT,
                "%zu bytes at %p; a segment begins and ends at multiples of %zu bytes", bytes,
                address, os::RealMemory().page_size());
  }
  if (bytes > SegmentBytesMax()) {
    return Fail(RSMERR_BAD_LENGTH, "%zu bytes; a segment has %zu at most", bytes,
                SegmentBytesMax());
  }
  return RSM_SUCCESS;
}

// From what publish and republish are given.
int ReadAccess(const rsmapi_access_entry_t* list, uint_t length, AccessList& access) {
  if (list == nullptr && length > 0) {
    return Fail(RSMERR_BAD_ACL, "%u entries of an access list that is NULL", length);
  }
  if (list == nullptr) {
    constexpr rsm_permission_t kAll = 0666;
    access = AccessList::OfEverybody(kAll & ~os::FileCreationMask());
    return RSM_SUCCESS;
  }
  const std::span<const rsmapi_access_entry_t> entries(list, length);
  if (const int error = AccessList::Check(entries); error != RSM_SUCCESS) return error;
  access = AccessList(entries);
  return RSM_SUCCESS;
}

int FailAsUnpublished() { return Fail(RSMERR_SEG_NOT_PUBLISHED, "the segment is not published"); }

}  // namespace
}  // namespace rsm::internal

using namespace rsm::internal;  // NOLINT: what follows is C's

int rsm_memseg_export_create(rsmapi_controller_handle_t controller,
                             rsm_memseg_export_handle_t* memseg, void* vaddr, size_t length,
                             uint_t flags) {
  return Guarded([&] {
    if (const int error = CheckController(controller); error != RSM_SUCCESS) return error;
    if (memseg == nullptr) return Fail(RSMERR_BAD_SEG_HNDL, "no place for the segment's handle");
    if (vaddr == nullptr) return Fail(RSMERR_BAD_ADDR, "a segment of memory at NULL");
    if (length == 0) return Fail(RSMERR_BAD_LENGTH, "a segment of 0 bytes");
    if (const int error = CheckMemory(vaddr, length); error != RSM_SUCCESS) return error;
    auto segment = std::make_shared<ExportSegment>(flags);
    const os::LatchHolder holder(MemoryLatch());
    if (const int error = segment->Create(vaddr, length); error != RSM_SUCCESS) return error;
    void* const handle = Exports().Add(segment);
    if (handle == nullptr) {
      segment->Destroy();
      return Fail(RSMERR_INSUFFICIENT_RESOURCES, "there are too many segments");
    }
    *memseg = static_cast<rsm_memseg_export_handle_t>(handle);
    return RSM_SUCCESS;
  });
}

int rsm_memseg_export_destroy(rsm_memseg_export_handle_t memseg) {
  return Guarded([&] {
    const os::LatchHolder holder(MemoryLatch());
    {
      const ExportTable::Use segment = Exports().Find(memseg);
      if (!segment) return FailWithoutSegment(memseg);
      if (!segment->is_of_this_process()) return FailInChild();
      if (HasPollDescriptor(*segment)) return FailWhilePolled();
    }
    const std::shared_ptr<ExportSegment> segment = Exports().Remove(memseg);
    if (segment == nullptr) return FailWithoutSegment(memseg);
    segment->Destroy();
    return RSM_SUCCESS;
  });
}

int rsm_memseg_export_rebind(rsm_memseg_export_handle_t memseg, void* vaddr, offset_t /*off*/,
                             size_t length) {
  return Guarded([&] {
    const os::LatchHolder holder(MemoryLatch());
    const ExportTable::Use segment = Exports().Find(memseg);
    if (!segment) return FailWithoutSegment(memseg);
    if (vaddr == nullptr) return Fail(RSMERR_BAD_ADDR, "a segment of memory at NULL");
    if (!segment->allows_rebind()) {
      return Fail(RSMERR_REBIND_NOT_ALLOWED, "the segment was created without RSM_ALLOW_REBIND");
    }
    if (!segment->is_of_this_process()) return FailInChild();
    const BoundRange& bound = segment->bound();
    if (length != bound.bytes) {
      return Fail(RSMERR_BAD_LENGTH, "%zu bytes; the segment has %zu, which cannot change", length,
                  bound.bytes);
    }
    if (vaddr == bound.address) return RSM_SUCCESS;
    if (!IsPageMultiple(reinterpret_cast<uintptr_t>(vaddr))) {
      return Fail(RSMERR_BAD_ADDR, "%p is not a multiple of the page size", vaddr);
    }
    return segment->Rebind(vaddr);
  });
}

int rsm_memseg_export_publish(rsm_memseg_export_handle_t memseg, rsm_memseg_id_t* segment_id,
                              rsmapi_access_entry_t access_list[], uint_t access_list_length) {
  return Guarded([&] {
    const os::LatchHolder holder(MemoryLatch());
    const ExportTable::Use segment = Exports().Find(memseg);
    if (!segment) return FailWithoutSegment(memseg);
    if (!segment->is_of_this_process()) return FailInChild();
    if (segment_id == nullptr) return Fail(RSMERR_BAD_SEGID, "no place for the segment's number");
    if (segment->is_published()) {
      return Fail(RSMERR_SEG_ALREADY_PUBLISHED,
                  "the segment is published; republish changes its access list");
    }
    if (*segment_id != 0 && *segment_id <= kReservedIdMax) {
      return Fail(
          RSMERR_RESERVED_SEGID,
          "segment 0x%x; numbers up to 0x%x are the system's own, applications' begin above",
          *segment_id, kReservedIdMax);
    }
    AccessList access;
    if (const int error = ReadAccess(access_list, access_list_length, access);
        error != RSM_SUCCESS) {
      return error;
    }
    return segment->Publish(*segment_id, std::move(access));
  });
}

int rsm_memseg_export_unpublish(rsm_memseg_export_handle_t memseg) {
  return Guarded([&] {
    const os::LatchHolder holder(MemoryLatch());
    const ExportTable::Use segment = Exports().Find(memseg);
    if (!segment) return FailWithoutSegment(memseg);
    if (!segment->is_of_this_process()) return FailInChild();
    if (!segment->is_published()) return FailAsUnpublished();
    if (HasPollDescriptor(*segment)) return FailWhilePolled();
    return segment->Unpublish();
  });
}

int rsm_memseg_export_republish(rsm_memseg_export_handle_t memseg,
                                rsmapi_access_entry_t access_list[], uint_t access_list_length) {
  return Guarded([&] {
    const os::LatchHolder holder(MemoryLatch());
    const ExportTable::Use segment = Exports().Find(memseg);
    if (!segment) return FailWithoutSegment(memseg);
    if (!segment->is_of_this_process()) return FailInChild();
    if (!segment->is_published()) return FailAsUnpublished();
    AccessList access;
    if (const int error = ReadAccess(access_list, access_list_length, access);
        error != RSM_SUCCESS) {
      return error;
    }
    return segment->Republish(std::move(access));
  });
}
