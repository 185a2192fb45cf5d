#include "cli/bench/progress.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "os/terminal.h"

namespace cli::bench {

std::string ProgressLine(std::chrono::nanoseconds passed, std::chrono::nanoseconds length,
                         const std::string& text, int columns) {
  constexpr double kCells = 10;
  const double share =
      length.count() == 0
          ? 1
          : std::clamp(static_cast<double>(passed.count()) / static_cast<double>(length.count()),
                       0.0, 1.0);
  const auto full = static_cast<size_t>(share * kCells);
  const double left = std::ceil(static_cast<double>((length - passed).count()) / 1e9);
  std::string line = absl::StrCat("[", std::string(full, '#'),
                                  std::string(static_cast<size_t>(kCells) - full, '.'),
                                  absl::StrFormat("] %3.0f s left  ", std::max(left, 0.0)), text);
  return line.substr(0, static_cast<size_t>(std::max(columns - 1, 1)));
}

Progress::Progress(bool wanted, std::chrono::nanoseconds length)
    : shown_(wanted && os::IsTerminal(os::kStandardError)), length_(length) {}

void Progress::Clear() {
  if (drawn_) std::fputs("\r\x1b[K", stderr);
  drawn_ = false;
}

bool Progress::IsDue(std::chrono::nanoseconds passed) const { return shown_ && passed >= next_; }

void Progress::Show(std::chrono::nanoseconds passed, const std::string& text) {
  next_ = passed + std::chrono::milliseconds(200);
  drawn_ = true;
  const int columns = os::SizeOfTerminal(os::kStandardError).columns;
  std::fputs(absl::StrCat("\r\x1b[K", ProgressLine(passed, length_, text, columns)).c_str(),
             stderr);
}

}  // namespace cli::bench
