// Guarded: a call of the C interface, from which no exception gets out.

#ifndef RSM_INTERNAL_GUARDED_H_
#define RSM_INTERNAL_GUARDED_H_

#include <new>

#include "rsm/internal/error.h"

namespace rsm::internal {

template <typename Body>
int Guarded(const Body& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return Fail(RSMERR_INSUFFICIENT_MEM, "there is no memory for this library's own data");
  }
}

}  // namespace rsm::internal

#endif  // RSM_INTERNAL_GUARDED_H_
