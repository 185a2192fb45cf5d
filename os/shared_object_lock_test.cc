// Locked bytes, between objects and between processes.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "os/shared_object.h"
#include "os/shared_object_fixture.h"
#include "tests/support/child.h"
#include "tests/support/sanitizer.h"

namespace os {
namespace {

using test_support::RunInChild;

// What two processes tell each other.
struct Progress {
  std::atomic<int> asking{0};
  std::atomic<int> handled{0};
  std::atomic<int> released{0};
};

Progress* progress_of_test = nullptr;

// A child that goes on until it is killed, unless its body ends it.
class Child {
 public:
  explicit Child(const std::function<void()>& body) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return;
    pid_ = fork();
    if (pid_ == 0) {
      (void)alarm(60);
      telling_ = ends[1];
      body();
      for (;;) (void)pause();
    }
    hearing_ = ends[0];
    (void)close(ends[1]);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (pid_ > 0) Kill();
    (void)close(hearing_);
  }

  pid_t pid() const { return pid_; }
  // In the child: lets AwaitReady() of the parent return.
  static void TellReady() {
    if (write(telling_, "", 1) != 1) _exit(1);
  }
  void AwaitReady() {
    char byte;
    ASSERT_EQ(read(hearing_, &byte, 1), 1) << "the child has ended";
  }
  // Until the child has set it.
  void Await(const std::atomic<int>& flag) const {
    while (flag == 0) {
      siginfo_t info{};
      ASSERT_EQ(waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT), 0);
      ASSERT_EQ(info.si_pid, 0) << "the child has ended";
      std::this_thread::yield();
    }
  }
  void Kill() {
    ASSERT_EQ(kill(pid_, SIGKILL), 0);
    (void)Wait();
  }
  // Its status, as of waitpid(2).
  int Wait() {
    int status = -1;
    EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
    pid_ = 0;
    return status;
  }
  // Until it sleeps, or has ended.
  void AwaitSleep() const {
    for (;;) {
      std::ifstream file("/proc/" + std::to_string(pid_) + "/stat");
      const std::string text{std::istreambuf_iterator<char>(file), {}};
      const size_t name_end = text.rfind(") ");
      ASSERT_NE(name_end, std::string::npos);
      if (text[name_end + 2] == 'S' || text[name_end + 2] == 'Z') return;
      std::this_thread::yield();
    }
  }

 private:
  pid_t pid_ = 0;
  int hearing_ = -1;
  static inline int telling_ = -1;  // in the child
};

class SharedObjectLock : public SharedObjectTest {
 protected:
  SharedObjectLock() {
    void* const memory =
        mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    EXPECT_NE(memory, MAP_FAILED);
    progress_of_test = new (memory) Progress();
  }
  ~SharedObjectLock() override { (void)munmap(progress_of_test, sizeof(Progress)); }

  static Progress& progress() { return *progress_of_test; }
};

TEST_F(SharedObjectLock, KeepsOutOtherObjectsOfTheSameProcess) {
  const SharedObject object = Make(), other = Again();
  EXPECT_EQ(object.TryLockByte(5), kSuccess);
  EXPECT_EQ(other.TryLockByte(5), Errno(EAGAIN));
  EXPECT_EQ(object.TryLockByte(5), kSuccess) << "it has it";
  EXPECT_EQ(other.TryLockByte(4), kSuccess);
  EXPECT_EQ(other.TryLockByte(6), kSuccess);
  EXPECT_EQ(object.LockByte(7), kSuccess);
  EXPECT_EQ(other.TryLockByte(7), Errno(EAGAIN));
}

TEST_F(SharedObjectLock, EndsWithUnlockByte) {
  const SharedObject object = Make(), other = Again();
  ASSERT_EQ(object.TryLockByte(5), kSuccess);
  ASSERT_EQ(object.TryLockByte(6), kSuccess);
  object.UnlockByte(5);
  EXPECT_EQ(other.TryLockByte(5), kSuccess);
  EXPECT_EQ(other.TryLockByte(6), Errno(EAGAIN));
  object.UnlockByte(5);  // not its own
  EXPECT_TRUE(object.IsLockedElsewhere(5, 1));
}

TEST_F(SharedObjectLock, EndsWithItsObject) {
  std::optional<SharedObject> object = Make();
  const SharedObject other = Again();
  ASSERT_EQ(object->TryLockByte(5), kSuccess);
  { const SharedObject third = Again(); }  // not with another object's end
  EXPECT_EQ(other.TryLockByte(5), Errno(EAGAIN));
  SharedObject moved = std::move(*object);
  object.reset();
  EXPECT_EQ(other.TryLockByte(5), Errno(EAGAIN));
  moved = Again();
  EXPECT_EQ(other.TryLockByte(5), kSuccess);
}

TEST_F(SharedObjectLock, IsSeenThroughOthersOnly) {
  const SharedObject object = Make(), other = Again();
  EXPECT_FALSE(other.IsLockedElsewhere(0, 100));
  ASSERT_EQ(object.TryLockByte(5), kSuccess);
  EXPECT_FALSE(object.IsLockedElsewhere(0, 100));
  EXPECT_TRUE(other.IsLockedElsewhere(5, 1));
  EXPECT_TRUE(other.IsLockedElsewhere(0, 100));
  EXPECT_TRUE(other.IsLockedElsewhere(0, 6));
  EXPECT_FALSE(other.IsLockedElsewhere(0, 5));
  EXPECT_FALSE(other.IsLockedElsewhere(6, 100));
  object.UnlockByte(5);
  EXPECT_FALSE(other.IsLockedElsewhere(0, 100));
}

TEST_F(SharedObjectLock, NeedsNoBytesThatAreThere) {
  const SharedObject object = Make(), other = Again();
  ASSERT_EQ(object.TryLockByte(1'000'000), kSuccess);
  EXPECT_EQ(*object.Size(), 0u);
  ASSERT_EQ(object.Resize(4096), kSuccess);
  ASSERT_EQ(object.Resize(0), kSuccess);
  EXPECT_TRUE(other.IsLockedElsewhere(1'000'000, 1));
}

TEST_F(SharedObjectLock, EndsWithItsProcessHoweverThatEnds) {
  const SharedObject object = Make();
  Child child([&] {
    const SharedObject own = Again();
    if (own.TryLockByte(5) == kSuccess) Child::TellReady();
    for (;;) (void)pause();
  });
  child.AwaitReady();
  EXPECT_EQ(object.TryLockByte(5), Errno(EAGAIN));
  EXPECT_TRUE(object.IsLockedElsewhere(5, 1));
  child.Kill();
  EXPECT_FALSE(object.IsLockedElsewhere(5, 1));
  EXPECT_EQ(object.TryLockByte(5), kSuccess);
}

TEST_F(SharedObjectLock, IsKeptByAForkedChildToo) {
  std::optional<SharedObject> object = Make();
  const SharedObject other = Again();
  ASSERT_EQ(object->TryLockByte(5), kSuccess);
  Child child([] { Child::TellReady(); });
  child.AwaitReady();
  object.reset();
  EXPECT_EQ(other.TryLockByte(5), Errno(EAGAIN));
  EXPECT_TRUE(other.IsLockedElsewhere(5, 1));
  child.Kill();
  EXPECT_FALSE(other.IsLockedElsewhere(5, 1));
  EXPECT_EQ(other.TryLockByte(5), kSuccess);
}

TEST_F(SharedObjectLock, IsNotGivenUpByAForkedChildThatClosesIt) {
  const SharedObject object = Make(), other = Again();
  ASSERT_EQ(object.TryLockByte(5), kSuccess);
  RunInChild([&] { (void)close(object.descriptor()); });
  EXPECT_EQ(other.TryLockByte(5), Errno(EAGAIN));
}

TEST_F(SharedObjectLock, IsWaitedFor) {
  const SharedObject object = Make();
  ASSERT_EQ(object.LockByte(5), kSuccess);
  Child child([&] {
    const SharedObject own = Again();
    progress().asking = 1;
    const Errno error = own.LockByte(5);
    _exit(error != kSuccess ? 2 : progress().released == 0 ? 3 : 0);
  });
  child.Await(progress().asking);
  child.AwaitSleep();
  progress().released = 1;
  object.UnlockByte(5);
  EXPECT_EQ(child.Wait(), 0);
}

TEST_F(SharedObjectLock, IsWaitedForThroughSignals) {
  if (test_support::kThreadSanitizer) {
    GTEST_SKIP() << "ThreadSanitizer keeps signals back for as long as the system call is repeated";
  }
  const SharedObject object = Make();
  ASSERT_EQ(object.LockByte(5), kSuccess);
  Child child([&] {
    struct sigaction action {};  // without SA_RESTART
    action.sa_handler = [](int) { progress_of_test->handled = 1; };
    if (sigaction(SIGUSR1, &action, nullptr) != 0) _exit(1);
    const SharedObject own = Again();
    progress().asking = 1;
    const Errno error = own.LockByte(5);
    _exit(error != kSuccess ? 2 : progress().released == 0 ? 3 : 0);
  });
  child.Await(progress().asking);
  child.AwaitSleep();
  ASSERT_EQ(kill(child.pid(), SIGUSR1), 0);
  child.Await(progress().handled);
  child.AwaitSleep();
  progress().released = 1;
  object.UnlockByte(5);
  EXPECT_EQ(child.Wait(), 0);
}

TEST_F(SharedObjectLock, ThatIsWaitedForIsFreeWhenItsHolderIsKilled) {
  const SharedObject object = Make();
  Child child([&] {
    const SharedObject own = Again();
    if (own.LockByte(5) == kSuccess) Child::TellReady();
    while (progress().asking == 0) std::this_thread::yield();
    for (;;) syscall(SYS_kill, getpid(), SIGKILL);
  });
  child.AwaitReady();
  progress().asking = 1;
  EXPECT_EQ(object.LockByte(5), kSuccess);
  EXPECT_NE(child.Wait(), 0);
}

}  // namespace
}  // namespace os
