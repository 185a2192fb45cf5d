#include "rsm/internal/error.h"

#include <cstdarg>
#include <cstdio>
#include <span>

#include "os/thread_text.h"

namespace rsm::internal {
namespace {

thread_local os::ThreadText<512> error_text;

constexpr const char* kNames[] = {
    "RSM_SUCCESS",
    "RSMERR_BAD_LIBRARY_VERSION",
    "RSMERR_BAD_TOPOLOGY_PTR",
    "RSMERR_BAD_CTLR_HNDL",
    "RSMERR_CTLR_NOT_PRESENT",
    "RSMERR_BAD_SEG_HNDL",
    "RSMERR_SEG_ALREADY_PUBLISHED",
    "RSMERR_SEG_NOT_PUBLISHED",
    "RSMERR_SEG_NOT_PUBLISHED_TO_NODE",
    "RSMERR_SEG_ALREADY_MAPPED",
    "RSMERR_SEG_STILL_MAPPED",
    "RSMERR_SEG_NOT_MAPPED",
    "RSMERR_NOT_CREATOR",
    "RSMERR_BAD_BARRIER_PTR",
    "RSMERR_BAD_SGIO",
    "RSMERR_BAD_LOCALMEM_HNDL",
    "RSMERR_BAD_ADDR",
    "RSMERR_BAD_MEM_ALIGNMENT",
    "RSMERR_BAD_OFFSET",
    "RSMERR_MISALIGNED_OFFSET",
    "RSMERR_BAD_LENGTH",
    "RSMERR_BAD_ACL",
    "RSMERR_BAD_SEGID",
    "RSMERR_RESERVED_SEGID",
    "RSMERR_SEGID_IN_USE",
    "RSMERR_BAD_MODE",
    "RSMERR_BAD_PERMS",
    "RSMERR_PERM_DENIED",
    "RSMERR_LOCKS_NOT_SUPPORTED",
    "RSMERR_LOCKS_NOT_ENABLED",
    "RSMERR_REBIND_NOT_ALLOWED",
    "RSMERR_INSUFFICIENT_RESOURCES",
    "RSMERR_INSUFFICIENT_MEM",
    "RSMERR_MAP_FAILED",
    "RSMERR_POLLFD_IN_USE",
    "RSMERR_BARRIER_UNINITIALIZED",
    "RSMERR_BARRIER_OPEN_FAILED",
    "RSMERR_BARRIER_NOT_OPENED",
    "RSMERR_BARRIER_FAILURE",
    "RSMERR_REMOTE_NODE_UNREACHABLE",
    "RSMERR_CONN_ABORTED",
    "RSMERR_INTERRUPTED",
    "RSMERR_TIMEOUT",
    "RSMERR_BAD_APPID",
    "RSMERR_BAD_CONF",
    "RSMERR_SEG_NOT_CONNECTED",
};
static_assert(std::size(kNames) == RSMERR_SEG_NOT_CONNECTED + 1);

}  // namespace

int Fail(int code, const char* format, ...) {
  const std::span<char> text = error_text.buffer();
  va_list arguments;
  va_start(arguments, format);
  (void)std::vsnprintf(text.data(), text.size(), format, arguments);
  va_end(arguments);
  return code;
}

const char* ErrorText() { return error_text.text(); }

const char* ErrorName(int code) {
  if (code == RSMERR_BAD_ARGS_ERRORS) return "RSMERR_BAD_ARGS_ERRORS";
  if (code < 0 || code >= static_cast<int>(std::size(kNames))) return "no RSMERR code";
  return kNames[code];
}

}  // namespace rsm::internal
