// The calling thread's last failure in words, for mpool_error() and for absl::Status.
//
// Kept in a buffer of fixed size, so that "out of memory" can be reported without any.

#ifndef MPOOL_INTERNAL_ERROR_TEXT_H_
#define MPOOL_INTERNAL_ERROR_TEXT_H_

#include "os/errno.h"

namespace mpool::internal {

// Sets the text, as printf does, cut to fit, and returns `error`. One line: what failed, why, the
// cure.
__attribute__((format(printf, 2, 3))) os::Errno Failed(os::Errno error, const char* format, ...);

// "" before the thread's first failure. Valid until its next failure.
const char* ErrorText();

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_ERROR_TEXT_H_
