// The probes of the pool, for tracers (os/probe.h): mpool(3), "Watching a pool".

#ifndef MPOOL_INTERNAL_PROBES_H_
#define MPOOL_INTERNAL_PROBES_H_

#include <cstdint>

#include "mpool/internal/frame.h"
#include "os/errno.h"

namespace mpool::internal::probe {

void PageIn(PageNumber page, os::Errno error);
void WriteBack(PageNumber first, uint64_t pages, os::Errno error);
void Evict(PageNumber page, FrameIndex frame);
void PinFailed(PageNumber page, os::Errno error);

}  // namespace mpool::internal::probe

#endif  // MPOOL_INTERNAL_PROBES_H_
