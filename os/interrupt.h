// Interrupt: whether somebody wants the program to end early, and in order.

#ifndef OS_INTERRUPT_H_
#define OS_INTERRUPT_H_

namespace os {

// While one lives, SIGINT, SIGTERM and SIGHUP are remembered instead of ending the process. A second
// SIGINT ends it at once. What was ignored before stays so. At most one at a time; affects the whole
// process. A forked child inherits the handlers.
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
