// OtherProcess: a forked child that runs beside the test, in turns with it.
//
// For what two processes do to each other. They take turns by saying numbers: nobody sleeps and hopes.

#ifndef TESTS_SUPPORT_OTHER_PROCESS_H_
#define TESTS_SUPPORT_OTHER_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>

namespace test_support {

// One end of the line between the two. Not thread-safe.
class Line {
 public:
  explicit Line(int descriptor, bool is_child) : descriptor_(descriptor), is_child_(is_child) {}
  void Say(uint64_t number) const;
  // The next number that the other end has said. Where it says none within a minute, or has ended, the
  // test fails, and it is kNothing; but a parent may hang up.
  uint64_t Hear() const;
  static constexpr uint64_t kNothing = ~uint64_t{0};
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
  bool is_child_;
};

// The child uses GoogleTest as usual: its failures are printed, and fail the test when it ends. It ends
// at once: no destructor outside of `body` runs. It is killed after two minutes, and with the parent.
class OtherProcess {
 public:
  using Body = std::function<void(const Line& line)>;
  explicit OtherProcess(const Body& body);
  OtherProcess(const OtherProcess&) = delete;
  OtherProcess& operator=(const OtherProcess&) = delete;
  // Hangs up, and waits for its end: it must have no failures.
  ~OtherProcess();

  void Say(uint64_t number) const { line_.Say(number); }
  uint64_t Hear() const { return line_.Hear(); }
  pid_t pid() const { return pid_; }

  // Each returns when it is done.
  void Stop();
  void Continue();
  // As kill -9; that it has failures does not matter then.
  void Kill();

 private:
  pid_t pid_ = -1;
  Line line_{-1, false};
  bool is_stopped_ = false;
};

}  // namespace test_support

#endif  // TESTS_SUPPORT_OTHER_PROCESS_H_
