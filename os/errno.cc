#include "os/errno.h"

#include <cstring>

namespace os {

std::string Errno::Name() const {
  if (ok()) return "0";
  const char* name = ::strerrorname_np(code_);
  return name != nullptr ? std::string(name) : "errno " + std::to_string(code_);
}

}  // namespace os
