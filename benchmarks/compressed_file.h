// ReadFile: the contents of a file, unpacked if it is compressed.

#ifndef BENCHMARKS_COMPRESSED_FILE_H_
#define BENCHMARKS_COMPRESSED_FILE_H_

#include <string>

#include "absl/status/statusor.h"

namespace benchmarks {

// gzip and Zstandard are known by their first bytes; anything else is returned as it is. The
// message of an error begins with the path.
absl::StatusOr<std::string> ReadFile(const std::string& path);

}  // namespace benchmarks

#endif  // BENCHMARKS_COMPRESSED_FILE_H_
