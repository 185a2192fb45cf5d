// A process with a word ends, in this way or that, alone or not; another one that waits is told.

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <tuple>

#include "os/death_words.h"
#include "os/death_words_fixture.h"
#include "tests/support/sanitizer.h"

namespace os {
namespace {

constexpr const char* kNoSharedMemory =
    "ThreadSanitizer's clone(2) keeps on the parent's stack what a child needs that shares it";

// As proc(5) has it; 0: there is no such process.
char StateOf(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const size_t name_end = text.rfind(") ");
  return name_end == std::string::npos ? '\0' : text[name_end + 2];
}

// A thread that waits for the death; it sleeps when the constructor returns.
class Watcher {
 public:
  explicit Watcher(const Object& object)
      : thread_([this, &object] {
          id_ = static_cast<pid_t>(syscall(SYS_gettid));
          error_ = object.AwaitDeath();
          WakeAll(object.word());  // of several the kernel wakes one
        }) {
    while (id_ == 0 || StateOf(id_) == 'R') std::this_thread::yield();
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

// --- How the process came by its word, and what it leaves behind --------------------------------

struct Company {
  const char* name;
  // Returns the number of a process that is to live on, or 0.
  pid_t (*begin)(DeathWords& words, int descriptor);
};

pid_t Alone(DeathWords& words, int descriptor) {
  Must(words.Begin().ok());
  Must(words.Add(descriptor).ok());
  return 0;
}

pid_t WithAForkedChild(DeathWords& words, int descriptor) {
  Must(words.Begin().ok());
  Must(words.Add(descriptor).ok());
  const pid_t child = fork();
  if (child == 0) {
    (void)alarm(60);
    SleepForever();
  }
  return child;
}

// Of the system call, which no handler of fork(3) notices.
pid_t WithARawChild(DeathWords& words, int descriptor) {
  Must(words.Begin().ok());
  Must(words.Add(descriptor).ok());
  const auto child = static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, nullptr, nullptr, 0, 0));
  if (child == 0) {
    (void)alarm(60);
    SleepForever();
  }
  return child;
}

// It has the words' memory, and the links', for as long as it lives; and what a sanitizer knows a
// thread by is another's.
__attribute__((no_sanitize("address"))) int SleepInSharedMemory(void*) {
  for (;;) syscall(SYS_ppoll, nullptr, 0, nullptr, nullptr, 0);
}
pid_t WithAChildInTheSameMemory(DeathWords& words, int descriptor) {
  Must(words.Begin().ok());
  Must(words.Add(descriptor).ok());
  alignas(16) static std::array<std::byte, 65'536> stack;
  return clone(SleepInSharedMemory, stack.data() + stack.size(), CLONE_VM | SIGCHLD, nullptr);
}

// What ends the process is not the thread that has the word.
pid_t InAnotherThread(DeathWords& words, int descriptor) {
  static std::atomic<bool> ready{false};
  std::thread([&words, descriptor] {
    Must(words.Begin().ok());
    Must(words.Add(descriptor).ok());
    ready = true;
    SleepForever();
  }).detach();
  while (!ready) std::this_thread::yield();
  return 0;
}

constexpr Company kCompanies[] = {
    {"Alone", Alone},
    {"WithAForkedChild", WithAForkedChild},
    {"WithARawChild", WithARawChild},
    {"WithAChildInTheSameMemory", WithAChildInTheSameMemory},
    {"InAnotherThread", InAnotherThread},
};

// --- How it ends --------------------------------------------------------------------------------

enum class End { kExit, kKilled, kExec };

[[noreturn]] void Perform(End end) {
  if (end == End::kExit) Exit(0);
  if (end == End::kKilled) BeKilled();
  (void)execl("/bin/sleep", "sleep", "60", nullptr);
  Exit(kFailed);
}

class DeathWordsEnd : public testing::TestWithParam<std::tuple<Company, End>> {};

TEST_P(DeathWordsEnd, IsTold) {
  const auto [company, end] = GetParam();
  if (test_support::kThreadSanitizer && company.begin == WithAChildInTheSameMemory) {
    GTEST_SKIP() << kNoSharedMemory;
  }
  const Object object;
  Child child([&, begin = company.begin, end = end](const Child& self) {
    DeathWords words;
    Must(self.Tell(begin(words, object.descriptor())) && self.Hear());
    Perform(end);
  });
  const std::optional<int> left = child.Hear();
  ASSERT_TRUE(left) << "the child has ended";
  EXPECT_GE(*left, 0) << "it could not make another";
  ASSERT_TRUE(object.IsAlive());
  Watcher watcher(object), second_watcher(object);
  ASSERT_TRUE(child.Tell());
  EXPECT_EQ(watcher.Join(), kSuccess);
  EXPECT_EQ(second_watcher.Join(), kSuccess);
  EXPECT_FALSE(object.IsAlive());
  const int status = end == End::kExec ? child.Kill() : child.Wait();
  if (end == End::kExit) {
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
  } else {
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
  }
  if (*left == 0) return;
  while (StateOf(*left) == 'R') std::this_thread::yield();  // not asleep yet
  EXPECT_EQ(StateOf(*left), 'S') << "it should have lived on";
  EXPECT_EQ(kill(*left, SIGKILL), 0);
}

std::string NameOf(const testing::TestParamInfo<std::tuple<Company, End>>& each) {
  static constexpr const char* kEnds[] = {"Exits", "IsKilled", "CallsExec"};
  const auto [company, end] = each.param;
  return std::string(company.name) + kEnds[static_cast<int>(end)];
}

INSTANTIATE_TEST_SUITE_P(, DeathWordsEnd,
                         testing::Combine(testing::ValuesIn(kCompanies),
                                          testing::Values(End::kExit, End::kKilled, End::kExec)),
                         NameOf);

// --- What is no end -----------------------------------------------------------------------------

void ExpectNotTold(const std::function<void()>& no_end) {
  const Object object;
  Child child([&](const Child& self) {
    DeathWords words;
    (void)Alone(words, object.descriptor());
    no_end();
    Must(self.Tell());
    SleepForever();
  });
  ASSERT_TRUE(child.Hear()) << "the child has ended";
  EXPECT_TRUE(object.IsAlive());
  (void)child.Kill();
  EXPECT_FALSE(object.IsAlive());
}

TEST(DeathWords, AreNotToldOfTheEndOfAForkedChild) {
  ExpectNotTold([] {
    const pid_t child = fork();
    if (child == 0) BeKilled();
    Must(waitpid(child, nullptr, 0) == child);
  });
}

TEST(DeathWords, AreNotToldOfTheEndOfAChildInTheSameMemory) {
  if (test_support::kThreadSanitizer) GTEST_SKIP() << kNoSharedMemory;
  ExpectNotTold([] {
    const auto end = [](void*) __attribute__((no_sanitize("address"))) { return 0; };
    alignas(16) static std::array<std::byte, 65'536> stack;
    const pid_t child = clone(end, stack.data() + stack.size(), CLONE_VM | SIGCHLD, nullptr);
    Must(waitpid(child, nullptr, 0) == child);
  });
}

TEST(DeathWords, AreNotToldOfTheEndOfAnotherThread) {
  ExpectNotTold([] { std::thread([] {}).join(); });
}

}  // namespace
}  // namespace os
