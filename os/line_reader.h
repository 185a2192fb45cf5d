// LineReader: the lines of a small file, read without allocating.
//
// For files of proc(5) and of the cgroup file system that are read on paths which may neither
// allocate nor throw. The file is read in pieces, into a buffer inside of the object.

#ifndef OS_LINE_READER_H_
#define OS_LINE_READER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace os {

// Lives on the stack: 2 KiB. Not thread-safe. A file that cannot be opened or read has no lines;
// nor has a FIFO any but those that are there: nothing is waited for.
class LineReader {
 public:
  // Opens the file, close-on-exec. Never blocks in open(2).
  explicit LineReader(const char* path);
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;
  ~LineReader();

  // Whether the file could be opened.
  bool ok() const { return descriptor_ >= 0; }
  // The next line without its end, valid until the next call. A line that is longer than the buffer
  // is cut. nullopt: no more lines.
  std::optional<std::string_view> Next();

 private:
  // Whether bytes could be added to the buffer.
  bool Fill();

  const int descriptor_;
  size_t begin_ = 0, end_ = 0;  // of what is in the buffer and not yet handed out
  bool skipping_ = false;       // the rest of a line that was cut
  std::array<char, 2048> buffer_;
};

// The number at the beginning of the text, after blanks and followed by one or by nothing. nullopt:
// no number there, or one beyond 64 bits.
std::optional<uint64_t> ParseNumber(std::string_view text, int base = 10);
// The number on the first line of a file.
std::optional<uint64_t> ReadNumber(const char* path);
// What follows `key` and a colon or a blank, where the line begins with them: "VmLck:\t 8 kB".
std::optional<std::string_view> ValueOf(std::string_view line, std::string_view key);

}  // namespace os

#endif  // OS_LINE_READER_H_
