// The C interface: barriers.
//
// Memory of one machine is coherent, so that a transfer is done when its function returns, and a barrier
// orders and tells of connections that have ended.

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "os/thread_sanitizer.h"
#include "rsm/internal/error.h"
#include "rsm/internal/guarded.h"
#include "rsm/internal/imports.h"
#include "rsm/rsmapi.h"

namespace rsm::internal {
namespace {

constexpr uint64_t kInitialized = 0x5253'4D42'4152'0001;

// What a barrier's state holds.
enum Place { kMark, kTypeAndOpen, kAborted };
constexpr uint64_t kOpen = uint64_t{1} << 32;

// All transfers before it are done, for every process, before those after it.
void Fence() {
#if !OS_THREAD_SANITIZER  // knows no fences, and sees nothing of other processes
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

bool IsOfNode(const rsmapi_barrier_t& barrier) {
  const uint64_t type = barrier.state[kTypeAndOpen] % kOpen;
  return type == RSM_BARRIER_NODE || type == RSM_BARRIER_NODE_THREAD;
}

bool IsType(rsm_barrier_type_t type) {
  return type == RSM_BARRIER_SEGMENT || type == RSM_BARRIER_NODE ||
         type == RSM_BARRIER_SEGMENT_THREAD || type == RSM_BARRIER_NODE_THREAD;
}

int FailWithoutBarrier() { return Fail(RSMERR_BAD_BARRIER_PTR, "the barrier is NULL"); }

int CheckInitialized(const rsmapi_barrier_t* barrier) {
  if (barrier == nullptr) return FailWithoutBarrier();
  if (barrier->state[kMark] == kInitialized) return RSM_SUCCESS;
  return Fail(RSMERR_BARRIER_UNINITIALIZED,
              "the barrier is not initialized, or destroyed; rsm_memseg_import_init_barrier");
}

rsm_memseg_import_handle_t SegmentOf(const rsmapi_barrier_t& barrier) {
  return static_cast<rsm_memseg_import_handle_t>(barrier.seg);
}

// A barrier's segment.
class Segment {
 public:
  explicit Segment(const rsmapi_barrier_t& barrier)
      : use_(std::in_place, FindImport(SegmentOf(barrier))) {}
  explicit operator bool() const { return bool(*use_); }
  const ImportSegment* operator->() const { return &**use_; }

  // The last thing that is done with it. Who disconnects it waits for its uses, and holds the latch
  // that the count needs.
  uint64_t CountAbortedOthers() {
    const std::shared_ptr<ImportSegment> share = use_->Share();
    use_.reset();
    return ImportSegment::CountAborted(*share);
  }

 private:
  std::optional<ImportTable::Use> use_;
};

// What order and close have in common: all before is done, and nothing has failed since it was opened.
int Settle(const rsmapi_barrier_t* barrier) {
  if (const int error = CheckInitialized(barrier); error != RSM_SUCCESS) return error;
  Segment segment(*barrier);
  if (!segment) return FailWithoutImport(SegmentOf(*barrier));
  if ((barrier->state[kTypeAndOpen] & kOpen) == 0) {
    return Fail(RSMERR_BARRIER_NOT_OPENED,
                "the barrier is not open; rsm_memseg_import_open_barrier first");
  }
  Fence();
  if (const int error = segment->CheckConnected(); error != RSM_SUCCESS) return error;
  if (IsOfNode(*barrier) && segment.CountAbortedOthers() != barrier->state[kAborted]) {
    return Fail(RSMERR_BARRIER_FAILURE,
                "another connection with the node has ended since the barrier was opened");
  }
  return RSM_SUCCESS;
}

}  // namespace
}  // namespace rsm::internal

using namespace rsm::internal;  // NOLINT: what follows is C's

int rsm_memseg_import_init_barrier(rsm_memseg_import_handle_t memseg, rsm_barrier_type_t type,
                                   rsmapi_barrier_t* barrier) {
  const ImportTable::Use segment = FindImport(memseg);
  if (!segment) return FailWithoutImport(memseg);
  if (barrier == nullptr) return FailWithoutBarrier();
  if (!IsType(type)) {
    return Fail(RSMERR_BAD_BARRIER_PTR, "barrier type %d is none of RSM_BARRIER_",
                static_cast<int>(type));
  }
  *barrier = {memseg, {kInitialized, static_cast<uint64_t>(type), 0}};
  segment->barriers.fetch_add(1, std::memory_order_relaxed);
  return RSM_SUCCESS;
}

int rsm_memseg_import_open_barrier(rsmapi_barrier_t* barrier) {
  if (const int error = CheckInitialized(barrier); error != RSM_SUCCESS) return error;
  Segment segment(*barrier);
  if (!segment) return FailWithoutImport(SegmentOf(*barrier));
  if (segment->CheckConnected() != RSM_SUCCESS) {
    return Fail(RSMERR_BARRIER_OPEN_FAILED,
                "the exporter has ended, or does not publish the segment any more");
  }
  if (IsOfNode(*barrier)) barrier->state[kAborted] = segment.CountAbortedOthers();
  barrier->state[kTypeAndOpen] |= kOpen;
  Fence();
  return RSM_SUCCESS;
}

int rsm_memseg_import_order_barrier(rsmapi_barrier_t* barrier) { return Settle(barrier); }

int rsm_memseg_import_close_barrier(rsmapi_barrier_t* barrier) {
  const int result = Settle(barrier);
  if (result == RSM_SUCCESS || result == RSMERR_CONN_ABORTED || result == RSMERR_BARRIER_FAILURE) {
    barrier->state[kTypeAndOpen] &= ~kOpen;
  }
  return result;
}

int rsm_memseg_import_destroy_barrier(rsmapi_barrier_t* barrier) {
  if (const int error = CheckInitialized(barrier); error != RSM_SUCCESS) return error;
  barrier->state[kMark] = 0;
  // A barrier may outlive its segment.
  if (const ImportTable::Use segment = FindImport(SegmentOf(*barrier)); segment) {
    segment->barriers.fetch_sub(1, std::memory_order_relaxed);
  }
  return RSM_SUCCESS;
}

int rsm_memseg_import_set_mode(rsm_memseg_import_handle_t memseg, rsm_barrier_mode_t mode) {
  const ImportTable::Use segment = FindImport(memseg);
  if (!segment) return FailWithoutImport(memseg);
  if (mode != RSM_BARRIER_MODE_EXPLICIT && mode != RSM_BARRIER_MODE_IMPLICIT) {
    return Fail(RSMERR_BAD_MODE, "barrier mode %d is none of RSM_BARRIER_MODE_",
                static_cast<int>(mode));
  }
  segment->set_mode(mode);
  return RSM_SUCCESS;
}

int rsm_memseg_import_get_mode(rsm_memseg_import_handle_t memseg, rsm_barrier_mode_t* mode) {
  const ImportTable::Use segment = FindImport(memseg);
  if (!segment) return FailWithoutImport(memseg);
  if (mode == nullptr) return Fail(RSMERR_BAD_MODE, "no place for the mode");
  *mode = segment->mode();
  return RSM_SUCCESS;
}
