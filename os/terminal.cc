#include "os/terminal.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <thread>

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

struct KeyReader::Settings {
  termios terminal;
};

KeyReader::KeyReader() {
  termios settings;
  if (!IsTerminal(kStandardInput) || tcgetpgrp(kStandardInput) != getpgrp() ||
      tcgetattr(kStandardInput, &settings) != 0) {
    return;
  }
  before_ = std::make_unique<Settings>(Settings{settings});
  settings.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  (void)tcsetattr(kStandardInput, TCSANOW, &settings);
}

KeyReader::~KeyReader() {
  if (before_ != nullptr) (void)tcsetattr(kStandardInput, TCSANOW, &before_->terminal);
}

bool KeyReader::WaitFor(char key, std::chrono::milliseconds time) const {
  if (before_ == nullptr) {
    std::this_thread::sleep_for(time);
    return false;
  }
  const auto deadline = std::chrono::steady_clock::now() + time;
  for (;;) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd input = {.fd = kStandardInput, .events = POLLIN, .revents = 0};
    const int ready =
        poll(&input, 1, static_cast<int>(std::clamp<int64_t>(left.count(), 0, INT_MAX)));
    if (ready == 0 || (ready < 0 && errno == EINTR)) return false;
    char pressed = 0;
    if (ready > 0 && read(kStandardInput, &pressed, 1) == 1) {
      if (pressed == key) return true;
    } else if (ready > 0) {
      std::this_thread::sleep_until(deadline);  // the terminal has gone
      return false;
    }
  }
}

}  // namespace os
