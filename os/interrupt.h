// Interrupt: whether somebody wants the program to end early, and in order.

#ifndef OS_INTERRUPT_H_
#define OS_INTERRUPT_H_

namespace os {

// While one lives, SIGINT, SIGTERM and SIGHUP are remembered instead of ending the process. A SIGINT
// that comes a second or more after the first of them ends it at once: its sender is not heard.
// Until then it passes for the same one: timeout(1) signals its child, and then the group of both.
// What was ignored before stays so. At most one at a time; affects the whole process. A forked child
// inherits the handlers.
class Interrupt {
 public:
  Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  // The signals do what they did before.
  ~Interrupt();

  // Whether one of them has come. Does not enter the kernel.
  bool requested() const;
};

}  // namespace os

#endif  // OS_INTERRUPT_H_
