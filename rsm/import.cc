// The C interface: rsm_memseg_import_connect(3), and mapping.

#include <memory>
#include <utility>

#include "os/latch.h"
#include "os/memory.h"
#include "rsm/internal/access.h"
#include "rsm/internal/controllers.h"
#include "rsm/internal/error.h"
#include "rsm/internal/guarded.h"
#include "rsm/internal/import_segment.h"
#include "rsm/internal/imports.h"
#include "rsm/internal/poll_bridge.h"
#include "rsm/rsmapi.h"

namespace rsm::internal {

ImportTable::Use FindImport(rsm_memseg_import_handle_t memseg) {
  ImportTable::Use segment = Imports().Find(memseg);
  if (segment && segment->is_of_this_process()) return segment;
  return ImportTable::Use();
}

int FailWithoutImport(rsm_memseg_import_handle_t memseg) {
  return Fail(
      RSMERR_BAD_SEG_HNDL,
      "%p is no imported segment of this process; rsm_memseg_import_connect gives one, until "
      "it is disconnected",
      static_cast<void*>(memseg));
}

namespace {

int CheckMap(void* const* address, rsm_attribute_t attribute, rsm_permission_t permission,
             off_t offset, size_t length, const ImportSegment& segment) {
  const size_t page_size = os::RealMemory().page_size();
  if (address == nullptr) return Fail(RSMERR_BAD_ADDR, "no place for the mapping's address");
  const bool is_placed = attribute == RSM_MAP_FIXED || attribute == RSM_MAP_RESERVED;
  if (!is_placed && attribute != RSM_MAP_NONE) {
    return Fail(RSMERR_BAD_ADDR, "attribute %d is none of RSM_MAP_", static_cast<int>(attribute));
  }
  if (is_placed && *address == nullptr) return Fail(RSMERR_BAD_ADDR, "a mapping at NULL");
  if (is_placed && reinterpret_cast<uintptr_t>(*address) % page_size != 0) {
    return Fail(RSMERR_BAD_MEM_ALIGNMENT, "%p is not a multiple of the page size", *address);
  }
  if (offset < 0) return Fail(RSMERR_BAD_OFFSET, "offset %jd", static_cast<intmax_t>(offset));
  if (static_cast<uint64_t>(offset) % page_size != 0) {
    return Fail(RSMERR_BAD_MEM_ALIGNMENT, "offset %jd is not a multiple of the page size",
                static_cast<intmax_t>(offset));
  }
  const auto begin = static_cast<uint64_t>(offset);
  if (length == 0 || begin > segment.bytes() || length > segment.bytes() - begin) {
    return Fail(RSMERR_BAD_LENGTH, "%zu bytes from %jd; the segment has %ju", length,
                static_cast<intmax_t>(offset), static_cast<uintmax_t>(segment.bytes()));
  }
  if (!IsPermission(permission) || (permission & ~segment.permission()) != 0) {
    return Fail(RSMERR_BAD_PERMS, "permission 0%o; the connection was made with 0%o", permission,
                segment.permission());
  }
  return RSM_SUCCESS;
}

}  // namespace
}  // namespace rsm::internal

using namespace rsm::internal;  // NOLINT: what follows is C's

int rsm_memseg_import_connect(rsmapi_controller_handle_t controller, rsm_node_id_t nodeid,
                              rsm_memseg_id_t segment_id, rsm_permission_t perm,
                              rsm_memseg_import_handle_t* memseg) {
  return Guarded([&] {
    if (const int error = CheckController(controller); error != RSM_SUCCESS) return error;
    if (memseg == nullptr) return Fail(RSMERR_BAD_ADDR, "no place for the segment's handle");
    if (!IsPermission(perm)) {
      return Fail(RSMERR_BAD_PERMS, "permission 0%o; it is 0400 to read, 0200 to write, or 0600",
                  perm);
    }
    if (nodeid != kLocalNode) {
      return Fail(RSMERR_REMOTE_NODE_UNREACHABLE,
                  "node %u; the controller \"loopback\" reaches node %u alone", nodeid, kLocalNode);
    }
    std::shared_ptr<ImportSegment> segment;
    if (const int error = ImportSegment::Connect(segment_id, perm, segment); error != RSM_SUCCESS) {
      return error;
    }
    os::PacketConnection closed;                  // without the latch
    const os::LatchHolder holder(ImportLatch());  // fork finds the table whole
    void* const handle = Imports().Add(segment);
    if (handle == nullptr) {
      closed = segment->Close();
      return Fail(RSMERR_INSUFFICIENT_RESOURCES, "there are too many segments");
    }
    *memseg = static_cast<rsm_memseg_import_handle_t>(handle);
    return RSM_SUCCESS;
  });
}

int rsm_memseg_import_disconnect(rsm_memseg_import_handle_t memseg) {
  return Guarded([&] {
    std::shared_ptr<ImportSegment> removed;  // its mappings go without the latch,
    os::PacketConnection closed;             // and its connection
    const os::LatchHolder holder(ImportLatch());
    {
      const ImportTable::Use segment = FindImport(memseg);
      if (!segment) return FailWithoutImport(memseg);
      if (segment->is_mapped()) {
        return Fail(RSMERR_SEG_STILL_MAPPED,
                    "the segment is mapped; rsm_memseg_import_unmap first");
      }
      if (HasPollDescriptor(*segment)) {
        return Fail(RSMERR_POLLFD_IN_USE,
                    "somebody has the segment's descriptor for poll(2); rsm_memseg_release_pollfd "
                    "first");
      }
    }
    removed = Imports().Remove(memseg);
    if (removed == nullptr) return FailWithoutImport(memseg);
    closed = removed->Close();
    return RSM_SUCCESS;
  });
}

int rsm_memseg_import_map(rsm_memseg_import_handle_t memseg, void** address, rsm_attribute_t attr,
                          rsm_permission_t perm, off_t offset, size_t length) {
  return Guarded([&] {
    const os::LatchHolder holder(ImportLatch());  // first: who removes a handle waits for its uses
    const ImportTable::Use segment = FindImport(memseg);
    if (!segment) return FailWithoutImport(memseg);
    if (segment->is_mapped()) {
      return Fail(RSMERR_SEG_ALREADY_MAPPED, "the handle has a mapping; one is possible");
    }
    if (const int error = CheckMap(address, attr, perm, offset, length, *segment);
        error != RSM_SUCCESS) {
      return error;
    }
    if (const int error = segment->CheckConnected(); error != RSM_SUCCESS) return error;
    return segment->Map(*address, attr, perm, static_cast<uint64_t>(offset), length);
  });
}

int rsm_memseg_import_unmap(rsm_memseg_import_handle_t memseg) {
  return Guarded([&] {
    const os::LatchHolder holder(ImportLatch());  // first: who removes a handle waits for its uses
    const ImportTable::Use segment = FindImport(memseg);
    if (!segment) return FailWithoutImport(memseg);
    if (!segment->is_mapped()) return Fail(RSMERR_SEG_NOT_MAPPED, "the segment is not mapped");
    segment->Unmap();
    return RSM_SUCCESS;
  });
}
