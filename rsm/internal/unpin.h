// Unpin: munpin(3) of memory that the program may have unmapped while it was pinned.

#ifndef RSM_INTERNAL_UNPIN_H_
#define RSM_INTERNAL_UNPIN_H_

#include <cstddef>

namespace rsm::internal {

// Takes 1 from the counter of each page. What was unmapped has a counter of 0 then, pins of the program's
// own included: else what is mapped there next would be taken to be locked. Thread-safe.
void Unpin(void* address, size_t bytes);

}  // namespace rsm::internal

#endif  // RSM_INTERNAL_UNPIN_H_
