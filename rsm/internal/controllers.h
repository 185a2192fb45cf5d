// Controllers: the one there is, "loopback", by the handles that were given out for it.

#ifndef RSM_INTERNAL_CONTROLLERS_H_
#define RSM_INTERNAL_CONTROLLERS_H_

#include "rsm/internal/handle_table.h"
#include "rsm/rsmapi.h"

namespace rsm::internal {

struct Controller {};
using ControllerTable = HandleTable<Controller, 3>;
ControllerTable& Controllers();

// RSM_SUCCESS, or RSMERR_BAD_CTLR_HNDL with Fail's text: NULL, or not got or released again.
int CheckController(rsmapi_controller_handle_t controller);

// Bytes of the largest segment, as far as this library is concerned.
size_t SegmentBytesMax();

}  // namespace rsm::internal

#endif  // RSM_INTERNAL_CONTROLLERS_H_
