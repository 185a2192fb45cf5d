#include "os/wait_words.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <fstream>
#include <functional>
#include <iterator>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/child.h"
#include "tests/support/forbid_syscalls.h"

namespace os {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using test_support::RunInChild;

steady_clock::time_point Late() { return steady_clock::now() + std::chrono::seconds(60); }

bool KernelHasTheCall() {
  return syscall(SYS_futex_waitv, nullptr, 0, 0, nullptr, 0) == 0 || errno != ENOSYS;
}

// Until the thread sleeps. That it may do so too early is no harm: no test relies on it.
void AwaitSleep(pid_t thread) {
  for (;;) {
    std::ifstream file("/proc/" + std::to_string(thread) + "/stat");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const size_t name_end = text.rfind(") ");
    if (name_end == std::string::npos || text[name_end + 2] == 'S') return;
    std::this_thread::yield();
  }
}

// A thread that waits till the word is no longer 0, and notes the last error.
class Waiter {
 public:
  explicit Waiter(const std::atomic<uint32_t>& word,
                  steady_clock::time_point deadline = steady_clock::time_point::max())
      : thread_([this, &word, deadline] {
          id_ = static_cast<pid_t>(syscall(SYS_gettid));
          while (word == 0 && error_.ok()) {
            const WaitWord wait[] = {{.word = &word, .seen = 0}};
            error_ = WaitForChange(wait, deadline);
          }
        }) {
    while (id_ == 0) std::this_thread::yield();
    AwaitSleep(id_);
  }
  Errno Join() {
    thread_.join();
    return error_;
  }

 private:
  std::atomic<pid_t> id_{0};
  Errno error_;
  std::thread thread_;
};

// Memory that processes share.
class SharedWord {
 public:
  SharedWord()
      : memory_(mmap(nullptr, 4, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)),
        word_(*new (memory_) std::atomic<uint32_t>(0)) {}
  SharedWord(const SharedWord&) = delete;
  SharedWord& operator=(const SharedWord&) = delete;
  ~SharedWord() { (void)munmap(memory_, 4); }

  std::atomic<uint32_t>& word() const { return word_; }
  bool MakeReadOnly() const { return mprotect(memory_, 4, PROT_READ) == 0; }

 private:
  void* memory_;
  std::atomic<uint32_t>& word_;
};

// With the system call, and where it fails with an error as of a kernel, or a filter, without it.
class WaitForChangeTest : public testing::TestWithParam<int> {
 protected:
  void Run(const std::function<void()>& body) const {
    RunInChild([&] {
      if (GetParam() != 0) {
        const long calls[] = {SYS_futex_waitv};
        test_support::ForbidSyscalls(calls, GetParam());
        if (IsSkipped()) return;
      }
      body();
    });
  }
};

TEST_P(WaitForChangeTest, ReturnsAtOnceWhereAWordIsNotWhatWasSeen) {
  Run([] {
    const std::atomic<uint32_t> same{5}, changed{0xFFFF'FFFF};
    const WaitWord first[] = {{&changed, 7}, {&same, 5}}, last[] = {{&same, 5}, {&changed, 0}};
    EXPECT_EQ(WaitForChange(first, steady_clock::time_point::max()), kSuccess);
    EXPECT_EQ(WaitForChange(last, steady_clock::time_point::max()), kSuccess);
    EXPECT_EQ(WaitForChange(last, steady_clock::time_point::min()), kSuccess)
        << "a change counts, however late it is";
  });
}

TEST_P(WaitForChangeTest, EndsAtTheDeadline) {
  Run([] {
    const std::atomic<uint32_t> word{5};
    const WaitWord wait[] = {{&word, 5}};
    const auto deadline = steady_clock::now() + milliseconds(20);
    EXPECT_EQ(WaitForChange(wait, deadline), Errno(ETIMEDOUT));
    EXPECT_GE(steady_clock::now(), deadline);
    for (const auto past : {steady_clock::time_point(), steady_clock::time_point::min(),
                            steady_clock::now() - milliseconds(1500)}) {
      EXPECT_EQ(WaitForChange(wait, past), Errno(ETIMEDOUT));
    }
  });
}

TEST_P(WaitForChangeTest, TakesOneToManyWords) {
  Run([] {
    const std::atomic<uint32_t> same{5};
    std::vector<WaitWord> words(kWaitWordsMax + 1, {&same, 5});
    EXPECT_EQ(WaitForChange(words, Late()), Errno(EINVAL));
    EXPECT_EQ(WaitForChange({}, Late()), Errno(EINVAL));
    words.pop_back();
    EXPECT_EQ(WaitForChange(words, steady_clock::now()), Errno(ETIMEDOUT));
    const std::atomic<uint32_t> changed{6};
    words.back().word = &changed;
    EXPECT_EQ(WaitForChange(words, Late()), kSuccess);
  });
}

TEST_P(WaitForChangeTest, NoticesAnotherThread) {
  Run([] {
    std::atomic<uint32_t> word{0};
    Waiter first(word), second(word, Late()), third(word);
    word = 1;
    WakeAll(word);
    EXPECT_EQ(first.Join(), kSuccess);
    EXPECT_EQ(second.Join(), kSuccess);
    EXPECT_EQ(third.Join(), kSuccess);
  });
}

TEST_P(WaitForChangeTest, NoticesWhicheverWordChanges) {
  Run([] {
    std::array<std::atomic<uint32_t>, 5> words{};
    for (std::atomic<uint32_t>& word : words) {
      std::array<WaitWord, words.size()> waits;
      for (size_t i = 0; i < words.size(); ++i) waits[i] = {&words[i], words[i]};
      std::thread other([&word] {
        ++word;
        WakeAll(word);
      });
      while (word == 0) {
        ASSERT_EQ(WaitForChange(waits, Late()), kSuccess);
      }
      other.join();
    }
  });
}

TEST_P(WaitForChangeTest, NoticesAnotherProcessThroughMemoryThatItMayOnlyRead) {
  Run([] {
    const SharedWord shared;
    const pid_t child = fork();
    if (child == 0) {
      bool good = shared.MakeReadOnly();
      const WaitWord wait[] = {{&shared.word(), 0}};
      while (good && shared.word() == 0) good = WaitForChange(wait, Late()).ok();
      for (;;) syscall(SYS_exit_group, good ? 0 : 1);
    }
    AwaitSleep(child);
    shared.word() = 1;
    WakeAll(shared.word());
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  });
}

TEST_P(WaitForChangeTest, IsWokenThroughMemoryThatOneMayOnlyRead) {
  Run([] {
    const SharedWord shared;
    Waiter waiter(shared.word(), Late());
    shared.word() = 1;
    ASSERT_TRUE(shared.MakeReadOnly());
    WakeAll(shared.word());
    EXPECT_EQ(waiter.Join(), kSuccess);
  });
}

TEST_P(WaitForChangeTest, EndsAtASignal) {
  Run([] {
    struct sigaction action {};  // without SA_RESTART
    action.sa_handler = [](int) {};
    ASSERT_EQ(sigaction(SIGUSR1, &action, nullptr), 0);
    const std::atomic<uint32_t> word{0};
    std::atomic<bool> done{false};
    const pthread_t waiter = pthread_self();
    std::thread other([&done, waiter] {
      while (!done) {  // the first may come before the wait
        (void)pthread_kill(waiter, SIGUSR1);
        std::this_thread::sleep_for(milliseconds(1));
      }
    });
    const WaitWord wait[] = {{&word, 0}};
    EXPECT_EQ(WaitForChange(wait, Late()), Errno(EINTR));
    done = true;
    other.join();
  });
}

INSTANTIATE_TEST_SUITE_P(, WaitForChangeTest, testing::Values(0, ENOSYS, EPERM),
                         [](const testing::TestParamInfo<int>& each) {
                           return each.param == 0 ? "ByTheCall" : Errno(each.param).Name();
                         });

TEST(WaitForChange, EndsWhereSomebodyWakesItThoughNothingHasChanged) {
  if (!KernelHasTheCall()) GTEST_SKIP() << "the kernel has no futex_waitv(2)";
  std::atomic<uint32_t> word{0};
  std::atomic<bool> done{false};
  std::thread waiter([&] {
    const WaitWord wait[] = {{&word, 0}};
    EXPECT_EQ(WaitForChange(wait, Late()), kSuccess);
    done = true;
  });
  while (!done) {  // the first may come before the wait
    WakeAll(word);
    std::this_thread::yield();
  }
  waiter.join();
}

TEST(WaitForChange, RefusesAWordThatIsNotMapped) {
  if (!KernelHasTheCall()) GTEST_SKIP() << "the kernel has no futex_waitv(2)";
  void* const hole = mmap(nullptr, 4, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(hole, MAP_FAILED);
  const std::atomic<uint32_t> word{0};
  const WaitWord waits[] = {{&word, 0}, {static_cast<const std::atomic<uint32_t>*>(hole), 0}};
  EXPECT_EQ(WaitForChange(waits, Late()), Errno(EFAULT));
  ASSERT_EQ(munmap(hole, 4), 0);
}

TEST(WakeAll, OfAWordForWhichNobodyWaitsDoesNothing) {
  const std::atomic<uint32_t> word{3};
  errno = 0;
  WakeAll(word);
  EXPECT_EQ(errno, 0);
  EXPECT_EQ(word, 3u);
}

}  // namespace
}  // namespace os
