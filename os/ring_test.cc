// The ring of the kernel, where there is one.

#include "os/ring.h"

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <set>
#include <string>
#include <utility>

#include "os/file.h"
#include "tests/support/child.h"

namespace os {
namespace {

std::set<int> OpenDescriptors() {
  std::set<int> open;
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) return open;
  while (const dirent* entry = readdir(directory)) open.insert(std::atoi(entry->d_name));
  open.erase(dirfd(directory));
  (void)closedir(directory);
  return open;
}

// The line of /proc/self/status.
std::string LockedBytes() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line) && !line.starts_with("VmLck:")) continue;
  EXPECT_FALSE(line.empty());
  return line;
}

class RingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* directory = std::getenv("TEST_TMPDIR");
    descriptor_ = *CreateUnnamedFile(directory != nullptr ? directory : "/tmp");
    ASSERT_EQ(pwrite(descriptor_.get(), "0123456789", 10, 0), 10);
    before_ = OpenDescriptors();
    Result<std::unique_ptr<Ring>> ring = OpenRing(descriptor_.get(), 8);
    if (!ring.ok()) GTEST_SKIP() << "no io_uring here: " << ring.error().Name();
    ring_ = *std::move(ring);
  }

  // The descriptor that the ring has.
  int RingDescriptor() const {
    for (const int descriptor : OpenDescriptors()) {
      if (!before_.contains(descriptor)) return descriptor;
    }
    return -1;
  }
  void PushRead(uint64_t offset, uint64_t tag) {
    part_ = {text_.data(), 4};
    ring_->Push({.write = false, .parts = {&part_, 1}, .offset = offset, .tag = tag});
  }
  Ring::Completion Next() {
    while (true) {
      if (const auto completion = ring_->Pop()) return *completion;
      EXPECT_EQ(ring_->Wait(), kSuccess);
    }
  }

  OwnedDescriptor descriptor_;
  std::set<int> before_;
  std::unique_ptr<Ring> ring_;
  std::array<char, 8> text_ = {};
  iovec part_ = {};
};

TEST_F(RingTest, Reads) {
  PushRead(3, 42);
  const Ring::Completion completion = Next();
  EXPECT_EQ(completion.tag, 42u);
  EXPECT_EQ(completion.result, 4);
  EXPECT_EQ(std::string(text_.data()), "3456");
  EXPECT_FALSE(ring_->Pop());
}

TEST_F(RingTest, Writes) {
  std::string text = "ab";
  const std::array parts = {iovec{text.data(), 1}, iovec{text.data() + 1, 1}};
  ring_->Push({.write = true, .parts = parts, .offset = 1, .tag = 0});
  EXPECT_EQ(Next().result, 2);
  EXPECT_EQ(pread(descriptor_.get(), text_.data(), 4, 0), 4);
  EXPECT_EQ(std::string(text_.data()), "0ab3");
}

TEST_F(RingTest, AFailureIsACompletion) {
  iovec nowhere = {nullptr, 4};
  ring_->Push({.write = false, .parts = {&nowhere, 1}, .offset = 0, .tag = 1});
  EXPECT_EQ(Next().result, -EFAULT);
}

TEST_F(RingTest, HasOneDescriptorThatExecCloses) {
  const int descriptor = RingDescriptor();
  ASSERT_GE(descriptor, 0);
  EXPECT_EQ(OpenDescriptors().size(), before_.size() + 1);
  EXPECT_EQ(fcntl(descriptor, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  ring_.reset();
  EXPECT_EQ(OpenDescriptors(), before_);
}

// Its memory may be charged to the lock limit, by user (ENOMEM), but it is no locked memory of this
// process: it takes no room from pages.
TEST_F(RingTest, LocksNothing) {
  const std::string locked = LockedBytes();
  test_support::RunInChild(test_support::Limited(0), [&] {
    const Errno error = OpenRing(descriptor_.get(), 128).error();
    EXPECT_TRUE(error.ok() || error == Errno(ENOMEM)) << error.Name();
  });
  const Result<std::unique_ptr<Ring>> other = OpenRing(descriptor_.get(), 128);
  ASSERT_TRUE(other.ok()) << other.error().Name();
  EXPECT_EQ(LockedBytes(), locked);
}

TEST_F(RingTest, AChildDoesNotUseItAndDoesNoHarm) {
  PushRead(0, 1);
  for (const bool raw_clone : {false, true}) {
    test_support::RunInChild({.raw_clone = raw_clone}, [&] {
      EXPECT_FALSE(ring_->Usable());
      // Its number is another file's in a child that has closed everything.
      const int descriptor = RingDescriptor();
      ASSERT_EQ(dup2(STDERR_FILENO, descriptor), descriptor);
      ring_.reset();
      EXPECT_GE(fcntl(descriptor, F_GETFD), 0);
    });
  }
  EXPECT_TRUE(ring_->Usable());
  EXPECT_EQ(Next().result, 4);
}

TEST_F(RingTest, DrainDropsWhatIsInFlight) {
  PushRead(0, 1);
  EXPECT_EQ(ring_->Wait(), kSuccess);
  PushRead(4, 2);
  ring_->Drain();
  EXPECT_FALSE(ring_->Pop());
}

TEST_F(RingTest, FailsWhenItsDescriptorIsAnothers) {
  const int descriptor = RingDescriptor();
  ASSERT_EQ(dup2(descriptor_.get(), descriptor), descriptor);
  PushRead(0, 1);
  EXPECT_FALSE(ring_->Wait().ok());
  ring_->Drain();
  ring_.reset();
  EXPECT_GE(fcntl(descriptor, F_GETFD), 0) << "closed what is not the ring's";
  EXPECT_EQ(close(descriptor), 0);
}

TEST_F(RingTest, FailsWhenItsDescriptorIsClosed) {
  const int descriptor = RingDescriptor();
  PushRead(0, 1);
  EXPECT_EQ(Next().result, 4);
  ASSERT_EQ(close(descriptor), 0);
  PushRead(0, 1);
  EXPECT_EQ(ring_->Wait(), Errno(EBADF));
  ring_->Drain();
}

}  // namespace
}  // namespace os
