#include "benchmarks/compressed_file.h"

#include <zlib.h>
#include <zstd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace benchmarks {
namespace {

constexpr std::string_view kGzip = "\x1f\x8b";
constexpr std::string_view kZstd = "\x28\xb5\x2f\xfd";
constexpr size_t kChunkBytes = size_t{64} << 10;

absl::Status Damaged(const std::string& path, const char* why) {
  return absl::DataLossError(absl::StrCat(path, ": damaged: ", why));
}

// By zlib's own reader, which checks the sum at the end and takes files of several members.
absl::StatusOr<std::string> Gunzip(const std::string& path) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose);
  if (file == nullptr) return absl::ResourceExhaustedError(absl::StrCat(path, ": zlib: no memory"));
  std::string text;
  std::vector<char> chunk(kChunkBytes);
  for (;;) {
    const int bytes = gzread(file.get(), chunk.data(), static_cast<unsigned>(chunk.size()));
    if (bytes > 0) text.append(chunk.data(), static_cast<size_t>(bytes));
    if (bytes == static_cast<int>(chunk.size())) continue;
    int error = Z_OK;
    const char* const why = gzerror(file.get(), &error);
    if (error != Z_OK) return Damaged(path, why);
    return text;
  }
}

absl::StatusOr<std::string> Unzstd(const std::string& path, const std::string& packed) {
  const std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> stream(ZSTD_createDStream(),
                                                                        ZSTD_freeDStream);
  std::string text;
  std::vector<char> chunk(kChunkBytes);
  ZSTD_inBuffer in = {packed.data(), packed.size(), 0};
  size_t wanted = 1;  // 0: at the end of a frame
  ZSTD_outBuffer out{};
  do {
    out = {chunk.data(), chunk.size(), 0};
    wanted = ZSTD_decompressStream(stream.get(), &out, &in);
    if (ZSTD_isError(wanted)) return Damaged(path, ZSTD_getErrorName(wanted));
    text.append(chunk.data(), out.pos);
  } while (in.pos < in.size || out.pos == out.size);
  if (wanted != 0) return Damaged(path, "it ends too early");
  return text;
}

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             std::fclose);
  std::string text;
  std::vector<char> chunk(kChunkBytes);
  while (file != nullptr && std::feof(file.get()) == 0 && std::ferror(file.get()) == 0) {
    text.append(chunk.data(), std::fread(chunk.data(), 1, chunk.size(), file.get()));
  }
  if (file == nullptr || std::ferror(file.get()) != 0) {
    return absl::NotFoundError(absl::StrCat(path, ": ", std::strerror(errno)));
  }
  if (text.starts_with(kGzip)) return Gunzip(path);
  if (text.starts_with(kZstd)) return Unzstd(path, text);
  return text;
}

}  // namespace benchmarks
