// Fail: the calling thread's last failure in words, for rsm_error().

#ifndef RSM_INTERNAL_ERROR_H_
#define RSM_INTERNAL_ERROR_H_

#include "rsm/rsmapi.h"

namespace rsm::internal {

// Sets the text, as printf does, cut to fit, and returns `code`, an RSMERR_ value. One line: what
// failed, why, the cure.
__attribute__((format(printf, 2, 3))) int Fail(int code, const char* format, ...);

// "" before the thread's first failure. Valid until its next failure.
const char* ErrorText();

// "RSMERR_BAD_ADDR"; "RSM_SUCCESS"; "no RSMERR code".
const char* ErrorName(int code);

}  // namespace rsm::internal

#endif  // RSM_INTERNAL_ERROR_H_
