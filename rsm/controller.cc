// The C interface: controllers, topology, reserved numbers.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#include "os/latch.h"
#include "os/memory.h"
#include "rsm/internal/access.h"
#include "rsm/internal/controllers.h"
#include "rsm/internal/error.h"
#include "rsm/internal/guarded.h"
#include "rsm/internal/import_segment.h"
#include "rsm/internal/process.h"
#include "rsm/internal/segment_conf.h"
#include "rsm/rsmapi.h"

namespace rsm::internal {
namespace {

constexpr char kName[] = "loopback";
constexpr size_t kSegmentBytesMax = size_t{1} << 40;
constexpr ulong_t kSegmentsMax = 65'536;  // handles of a process (internal/handle_table.h)

constinit ControllerTable controllers;

}  // namespace

ControllerTable& Controllers() { return controllers; }

int CheckController(rsmapi_controller_handle_t controller) {
  if (controllers.Find(controller)) return RSM_SUCCESS;
  return Fail(RSMERR_BAD_CTLR_HNDL,
              "%p is no controller; rsm_get_controller gives one, until it is released",
              static_cast<void*>(controller));
}

size_t SegmentBytesMax() { return kSegmentBytesMax; }

}  // namespace rsm::internal

using rsm::internal::Fail;
using rsm::internal::Guarded;

int rsm_get_controller(char* name, rsmapi_controller_handle_t* controller) {
  return Guarded([&] {
    if (controller == nullptr) return Fail(RSMERR_BAD_ADDR, "no place for the controller's handle");
    if (name != nullptr && std::strcmp(name, rsm::internal::kName) != 0) {
      return Fail(RSMERR_CTLR_NOT_PRESENT, "no controller \"%s\"; this machine has \"%s\" alone",
                  name, rsm::internal::kName);
    }
    void* handle = nullptr;
    if (rsm::internal::PrepareForForks()) {
      auto made = std::make_shared<rsm::internal::Controller>();
      const os::LatchHolder holder(rsm::internal::ImportLatch());  // fork finds the table whole
      handle = rsm::internal::controllers.Add(std::move(made));
    }
    if (handle == nullptr) return Fail(RSMERR_INSUFFICIENT_MEM, "no memory for a controller");
    *controller = static_cast<rsmapi_controller_handle_t>(handle);
    return RSM_SUCCESS;
  });
}

int rsm_get_controller_attr(rsmapi_controller_handle_t controller, rsmapi_controller_attr_t* attr) {
  if (const int error = rsm::internal::CheckController(controller); error != RSM_SUCCESS) {
    return error;
  }
  if (attr == nullptr) return Fail(RSMERR_BAD_ADDR, "no place for the attributes");
  constexpr uint_t kSizes = RSM_DAS8 | RSM_DAS16 | RSM_DAS32 | RSM_DAS64;
  *attr = {};
  attr->attr_direct_access_sizes = kSizes;
  attr->attr_atomic_sizes = kSizes;
  attr->attr_page_size = os::RealMemory().page_size();
  attr->attr_max_export_segment_size = rsm::internal::kSegmentBytesMax;
  attr->attr_tot_export_segment_size = rsm::internal::kSegmentBytesMax;
  attr->attr_max_export_segments = rsm::internal::kSegmentsMax;
  attr->attr_max_import_map_size = rsm::internal::kSegmentBytesMax;
  attr->attr_tot_import_map_size = rsm::internal::kSegmentBytesMax;
  attr->attr_max_import_segments = rsm::internal::kSegmentsMax;
  return RSM_SUCCESS;
}

int rsm_release_controller(rsmapi_controller_handle_t controller) {
  {
    const os::LatchHolder holder(rsm::internal::ImportLatch());
    if (rsm::internal::controllers.Remove(controller) != nullptr) return RSM_SUCCESS;
  }
  return rsm::internal::CheckController(controller);
}

namespace {

// All that a topology points to lies in one block.
struct Topology {
  rsm_topology_t head;
  rsm_connections_t connection;
};

}  // namespace

int rsm_get_interconnect_topology(rsm_topology_t** topology) {
  if (topology == nullptr) return Fail(RSMERR_BAD_TOPOLOGY_PTR, "no place for the topology");
  auto* const made = static_cast<Topology*>(std::calloc(1, sizeof(Topology)));
  if (made == nullptr) return Fail(RSMERR_INSUFFICIENT_MEM, "no memory for the topology");
  made->head.topology_hdr = {rsm::internal::kLocalNode, 1};
  made->head.connections[0] = &made->connection;
  made->connection.hdr.remote_cntlr_count = 1;
  made->connection.hdr.local_hwaddr = rsm::internal::kLocalNode;
  std::strcpy(made->connection.hdr.cntlr_name, rsm::internal::kName);
  rsm_remote_cntlr_t& remote = made->connection.remote_cntlr[0];
  remote.remote_nodeid = rsm::internal::kLocalNode;
  remote.remote_hwaddr = rsm::internal::kLocalNode;
  remote.connection_state = RSM_CONNECTION_ACTIVE;
  std::strcpy(remote.remote_cntlrname, rsm::internal::kName);
  *topology = &made->head;
  return RSM_SUCCESS;
}

void rsm_free_interconnect_topology(rsm_topology_t* topology) { std::free(topology); }

int rsm_get_segmentid_range(const char* appid, rsm_memseg_id_t* baseid, uint32_t* length) {
  return Guarded([&] {
    if (appid == nullptr || baseid == nullptr || length == nullptr) {
      return Fail(RSMERR_BAD_ADDR, "no application, or no place for its range");
    }
    rsm::internal::SegmentRange range;
    const int error = rsm::internal::ReadSegmentRange(appid, range);
    if (error != RSM_SUCCESS) return error;
    *baseid = range.base;
    *length = range.length;
    return RSM_SUCCESS;
  });
}

const char* rsm_error(void) { return rsm::internal::ErrorText(); }
