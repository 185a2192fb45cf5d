// Terminal: whether a person looks at an output, and how wide it is.

#ifndef OS_TERMINAL_H_
#define OS_TERMINAL_H_

namespace os {

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

}  // namespace os

#endif  // OS_TERMINAL_H_
