#include "os/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>

namespace os {

bool IsTerminal(int descriptor) {
  const int saved = errno;
  const bool is_terminal = isatty(descriptor) == 1;
  errno = saved;
  return is_terminal;
}

TerminalSize SizeOfTerminal(int descriptor) {
  const int saved = errno;
  TerminalSize size;
  winsize window = {};
  if (ioctl(descriptor, TIOCGWINSZ, &window) == 0) {
    if (window.ws_col > 0) size.columns = window.ws_col;
    if (window.ws_row > 0) size.lines = window.ws_row;
  }
  errno = saved;
  return size;
}

}  // namespace os
