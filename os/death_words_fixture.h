// Objects with words in them, and a child whose words they are.

#ifndef OS_DEATH_WORDS_FIXTURE_H_
#define OS_DEATH_WORDS_FIXTURE_H_

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <functional>
#include <optional>

#include "os/death_words.h"
#include "os/descriptor.h"
#include "os/wait_words.h"

namespace os {

inline const auto kPage = static_cast<size_t>(sysconf(_SC_PAGESIZE));
inline constexpr int kFailed = 9;  // status of a child for which something did not succeed

// An object of one page, and the test's own view of it.
class Object {
 public:
  Object() : descriptor_(memfd_create("death_words", MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
    EXPECT_EQ(ftruncate(descriptor(), static_cast<off_t>(kPage)), 0);
    EXPECT_EQ(fcntl(descriptor(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    page_ = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor(), 0);
    EXPECT_NE(page_, MAP_FAILED);
  }
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  ~Object() { (void)munmap(page_, kPage); }

  int descriptor() const { return descriptor_.get(); }
  void* page() const { return page_; }
  std::atomic<uint32_t>& word() const { return *static_cast<std::atomic<uint32_t>*>(page_); }
  bool IsAlive() const { return DeathWords::IsAlive(word()); }
  // Waits for the kernel to change it.
  Errno AwaitDeath() const {
    const auto late = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    for (;;) {
      const WaitWord wait[] = {{.word = &word(), .seen = word()}};
      if (!IsAlive()) return kSuccess;
      if (const Errno error = WaitForChange(wait, late); !error.ok()) return error;
    }
  }

 private:
  OwnedDescriptor descriptor_;
  void* page_;
};

[[noreturn]] inline void Exit(int status) {
  for (;;) syscall(SYS_exit_group, status);
}
[[noreturn]] inline void BeKilled() {
  for (;;) syscall(SYS_kill, getpid(), SIGKILL);
}
[[noreturn]] inline void SleepForever() {
  for (;;) (void)pause();
}
// In a child, which ends where it is not so.
inline void Must(bool success) {
  if (!success) Exit(kFailed);
}

class Child {
 public:
  // Runs the body, which is to end it, with itself as the child sees it.
  explicit Child(const std::function<void(const Child&)>& body) {
    int ends[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    pid_ = fork();
    line_ = ends[pid_ == 0 ? 1 : 0];
    (void)close(ends[pid_ == 0 ? 0 : 1]);
    if (pid_ != 0) return;
    (void)alarm(60);
    body(*this);
    Exit(kFailed);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ > 0) (void)Kill();
    (void)close(line_);
  }

  pid_t pid() const { return pid_; }
  // For both sides: what one tells the other hears. False, nullopt: there is no other any more.
  bool Tell(int number = 0) const {
    return send(line_, &number, sizeof(number), MSG_NOSIGNAL) == sizeof(number);
  }
  std::optional<int> Hear() const {
    int number = 0;
    if (recv(line_, &number, sizeof(number), 0) != sizeof(number)) return std::nullopt;
    return number;
  }

  int Kill() {
    EXPECT_EQ(kill(pid_, SIGKILL), 0);
    return Wait();
  }
  // Its status, as of waitpid(2).
  int Wait() {
    int status = -1;
    EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
    pid_ = 0;
    return status;
  }

 private:
  pid_t pid_ = 0;
  int line_ = -1;
};

}  // namespace os

#endif  // OS_DEATH_WORDS_FIXTURE_H_
