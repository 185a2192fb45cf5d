#include "os/line_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

namespace os {
namespace {

bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\n'; }

}  // namespace

// Without waiting: in the root of another process there may be a FIFO in the place of a file.
LineReader::LineReader(const char* path)
    : descriptor_(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)) {}

LineReader::~LineReader() {
  if (descriptor_ >= 0) (void)close(descriptor_);
}

bool LineReader::Fill() {
  if (descriptor_ < 0) return false;
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  ssize_t bytes = 0;
  do {
    bytes = read(descriptor_, buffer_.data() + end_, buffer_.size() - end_);
  } while (bytes < 0 && errno == EINTR);
  if (bytes <= 0) return false;  // EAGAIN of a FIFO too: who waits there is at its writer's mercy
  end_ += static_cast<size_t>(bytes);
  return true;
}

std::optional<std::string_view> LineReader::Next() {
  while (true) {
    const std::string_view text(buffer_.data() + begin_, end_ - begin_);
    const size_t line_end = text.find('\n');
    const bool cut = line_end == std::string_view::npos;
    if (cut && text.size() < buffer_.size() && Fill()) continue;
    if (text.empty()) return std::nullopt;
    begin_ += cut ? text.size() : line_end + 1;
    const bool rest_of_a_cut_line = skipping_;
    skipping_ = cut;
    if (!rest_of_a_cut_line) return text.substr(0, line_end);
  }
}

std::optional<uint64_t> ParseNumber(std::string_view text, int base) {
  while (!text.empty() && IsBlank(text.front())) text.remove_prefix(1);
  uint64_t value = 0;
  const char* const text_end = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), text_end, value, base);
  if (error != std::errc() || (end != text_end && !IsBlank(*end))) return std::nullopt;
  return value;
}

std::optional<uint64_t> ReadNumber(const char* path) {
  LineReader file(path);
  const std::optional<std::string_view> line = file.Next();
  return line ? ParseNumber(*line) : std::nullopt;
}

std::optional<std::string_view> ValueOf(std::string_view line, std::string_view key) {
  if (!line.starts_with(key)) return std::nullopt;
  line.remove_prefix(key.size());
  if (line.empty() || (line.front() != ':' && !IsBlank(line.front()))) return std::nullopt;
  line.remove_prefix(1);
  while (!line.empty() && IsBlank(line.front())) line.remove_prefix(1);
  return line;
}

}  // namespace os
