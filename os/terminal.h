// Terminal: whether a person looks at an output, and how wide it is.

#ifndef OS_TERMINAL_H_
#define OS_TERMINAL_H_

#include <chrono>
#include <memory>

namespace os {

inline constexpr int kStandardInput = 0;
inline constexpr int kStandardOutput = 1;
inline constexpr int kStandardError = 2;

// Whether the descriptor is a terminal (isatty(3)).
bool IsTerminal(int descriptor);
// Columns and lines of the terminal; 80 and 24 where it does not say, or is none.
struct TerminalSize {
  int columns = 80;
  int lines = 24;
};
TerminalSize SizeOfTerminal(int descriptor);

// Reads keys from the terminal at standard input without waiting for the end of a line, and
// without showing them; signals from keys go on. Where that is no terminal, or this process is in
// its background, it only waits. Restores the terminal at its end; not if a signal ends the process
// (os/interrupt.h).
class KeyReader {
 public:
  KeyReader();
  ~KeyReader();
  KeyReader(const KeyReader&) = delete;
  KeyReader& operator=(const KeyReader&) = delete;

  // True as soon as the key is pressed; false after that time, or when a signal was handled.
  bool WaitFor(char key, std::chrono::milliseconds time) const;

 private:
  struct Settings;
  std::unique_ptr<Settings> before_;  // null: no terminal
};

}  // namespace os

#endif  // OS_TERMINAL_H_
