#include "os/companion_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <new>
#include <utility>

#include "gtest/gtest.h"

namespace os {
namespace {

// What parent and child both see.
struct Shared {
  std::atomic<int> began{0};
  std::atomic<pid_t> process{0};
};

class CompanionProcessTest : public testing::Test {
 protected:
  void SetUp() override {
    void* memory =
        mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    shared_ = new (memory) Shared;
  }
  void TearDown() override { (void)munmap(shared_, sizeof(Shared)); }
  void WaitUntilItBegan() const {
    while (shared_->began == 0) (void)usleep(1000);
  }
  static void WaitForEver() {
    for (;;) (void)pause();
  }

  Shared* shared_ = nullptr;
};

TEST_F(CompanionProcessTest, DoesNothingBeforeItMayBegin) {
  {
    Result<CompanionProcess> child = CompanionProcess::Start([this] { shared_->began = 1; });
    ASSERT_TRUE(child.ok());
    EXPECT_TRUE(child->IsRunning());
    EXPECT_EQ(shared_->began, 0);
  }
  EXPECT_EQ(shared_->began, 0) << "it was ended instead";
}

TEST_F(CompanionProcessTest, EndsWhenItsBodyIsDone) {
  Result<CompanionProcess> child = CompanionProcess::Start([this] { shared_->began = 1; });
  ASSERT_TRUE(child.ok());
  child->Begin();
  child->Begin();
  while (child->IsRunning()) (void)usleep(1000);
  EXPECT_EQ(shared_->began, 1);
  EXPECT_FALSE(child->IsRunning());
}

TEST_F(CompanionProcessTest, IsKilledAtTheEndOfTheObjectEvenAfterAMove) {
  {
    Result<CompanionProcess> child = CompanionProcess::Start([this] {
      shared_->process = getpid();
      shared_->began = 1;
      WaitForEver();
    });
    ASSERT_TRUE(child.ok());
    CompanionProcess moved(*std::move(child));
    moved.Begin();
    WaitUntilItBegan();
    EXPECT_EQ(kill(shared_->process, 0), 0);
  }
  EXPECT_EQ(kill(shared_->process, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

TEST_F(CompanionProcessTest, IgnoresTheTerminalsInterrupt) {
  Result<CompanionProcess> child = CompanionProcess::Start([this] {
    (void)raise(SIGINT);
    shared_->began = 1;
    WaitForEver();
  });
  ASSERT_TRUE(child.ok());
  child->Begin();
  WaitUntilItBegan();
  EXPECT_TRUE(child->IsRunning());
}

TEST_F(CompanionProcessTest, DiesWithItsParent) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const pid_t parent = fork();
  ASSERT_GE(parent, 0);
  if (parent == 0) {
    Result<CompanionProcess> child = CompanionProcess::Start([this] {
      shared_->began = 1;
      WaitForEver();
    });
    if (child.ok()) child->Begin();
    WaitForEver();
  }
  WaitUntilItBegan();
  (void)close(ends[1]);
  ASSERT_EQ(kill(parent, SIGKILL), 0);
  ASSERT_EQ(waitpid(parent, nullptr, 0), parent);
  // The child holds the pipe's other end: end of file says that it is gone.
  char byte;
  EXPECT_EQ(read(ends[0], &byte, 1), 0);
  (void)close(ends[0]);
}

TEST_F(CompanionProcessTest, IsTheFirstThatTheKernelTakes) {
  Result<CompanionProcess> child = CompanionProcess::Start([this] {
    const int file = open("/proc/self/oom_score_adj", O_RDONLY);
    char text[16] = {};
    if (read(file, text, sizeof(text) - 1) > 0 && text[0] == '1') shared_->began = atoi(text);
    WaitForEver();
  });
  ASSERT_TRUE(child.ok());
  child->Begin();
  WaitUntilItBegan();
  EXPECT_EQ(shared_->began, 1000);
}

}  // namespace
}  // namespace os
