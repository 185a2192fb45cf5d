#include "mpool/internal/error_text.h"

#include <array>
#include <cstdarg>
#include <cstdio>

namespace mpool::internal {
namespace {

thread_local std::array<char, 1024> text;

}  // namespace

os::Errno Failed(os::Errno error, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  (void)std::vsnprintf(text.data(), text.size(), format, arguments);
  va_end(arguments);
  return error;
}

const char* ErrorText() { return text.data(); }

}  // namespace mpool::internal
