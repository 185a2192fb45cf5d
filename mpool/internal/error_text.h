// The calling thread's last failure in words, for mpool_error() and for absl::Status.
//
// Kept in a buffer of fixed size, made at the thread's first failure. Where there is no memory even
// for that, the text says so.

#ifndef MPOOL_INTERNAL_ERROR_TEXT_H_
#define MPOOL_INTERNAL_ERROR_TEXT_H_

#include "os/errno.h"

namespace mpool::internal {

// Sets the text, as printf does, cut to fit, and returns `error`. One line: what failed, why, the
// cure.
__attribute__((format(printf, 2, 3))) os::Errno Failed(os::Errno error, const char* format, ...);

// "" before the thread's first failure. Valid until its next failure.
const char* ErrorText();

// The text as of now is what mpool_error() tells from now on: inside, calls also get by errors.
void ReportErrorText();
const char* ReportedErrorText();

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_ERROR_TEXT_H_
