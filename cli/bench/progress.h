// Progress: a bar on the terminal while something goes on.

#ifndef CLI_BENCH_PROGRESS_H_
#define CLI_BENCH_PROGRESS_H_

#include <chrono>
#include <string>

namespace cli::bench {

// "[####......]   7 s left  TEXT", cut to the columns. Pure.
std::string ProgressLine(std::chrono::nanoseconds passed, std::chrono::nanoseconds length,
                         const std::string& text, int columns);

// Writes to standard error, and only if that is a terminal and `wanted`; five times a second at
// most. Not thread-safe.
class Progress {
 public:
  Progress(bool wanted, std::chrono::nanoseconds length);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { Clear(); }

  // Whether the bar is to be drawn again now.
  bool IsDue(std::chrono::nanoseconds passed) const;
  void Show(std::chrono::nanoseconds passed, const std::string& text);
  // Removes the bar, until it is shown again.
  void Clear();

 private:
  const bool shown_;
  const std::chrono::nanoseconds length_;
  std::chrono::nanoseconds next_{};
  bool drawn_ = false;
};

}  // namespace cli::bench

#endif  // CLI_BENCH_PROGRESS_H_
