#include "mpool/internal/error_text.h"

#include <cstdarg>
#include <cstdio>
#include <span>

#include "os/thread_text.h"

namespace mpool::internal {
namespace {

thread_local os::ThreadText<1024> last;      // of any failure inside
thread_local os::ThreadText<1024> reported;  // of one that a caller was told of

}  // namespace

os::Errno Failed(os::Errno error, const char* format, ...) {
  const std::span<char> text = last.buffer();
  va_list arguments;
  va_start(arguments, format);
  (void)std::vsnprintf(text.data(), text.size(), format, arguments);
  va_end(arguments);
  return error;
}

const char* ErrorText() { return last.text(); }

void ReportErrorText() {
  const std::span<char> text = reported.buffer();
  (void)std::snprintf(text.data(), text.size(), "%s", last.text());
}

const char* ReportedErrorText() { return reported.text(); }

}  // namespace mpool::internal
