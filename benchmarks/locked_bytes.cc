#include "benchmarks/locked_bytes.h"

#include <optional>
#include <string_view>

#include "benchmarks/must.h"
#include "os/line_reader.h"

namespace benchmarks {

uint64_t LockedBytes() {
  os::LineReader status("/proc/self/status");
  while (const std::optional<std::string_view> line = status.Next()) {
    const std::optional<std::string_view> value = os::ValueOf(*line, "VmLck");
    const std::optional<uint64_t> kib = value ? os::ParseNumber(*value) : std::nullopt;
    if (kib) return *kib * 1024;
  }
  Fail("/proc/self/status", "no VmLck");
}

}  // namespace benchmarks
