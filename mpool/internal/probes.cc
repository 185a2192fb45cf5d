#include "mpool/internal/probes.h"

#include "os/probe.h"

namespace mpool::internal::probe {

OS_PROBE_FUNCTION void PageIn(PageNumber page, os::Errno error) {
  OS_PROBE2(mpool, page_in, page, error.code());
}

OS_PROBE_FUNCTION void WriteBack(PageNumber first, uint64_t pages, os::Errno error) {
  OS_PROBE3(mpool, write_back, first, pages, error.code());
}

OS_PROBE_FUNCTION void Evict(PageNumber page, FrameIndex frame) {
  OS_PROBE2(mpool, evict, page, frame);
}

OS_PROBE_FUNCTION void PinFailed(PageNumber page, os::Errno error) {
  OS_PROBE2(mpool, pin_failed, page, error.code());
}

}  // namespace mpool::internal::probe
