// IoQueue on the kernel, through a File: with O_DIRECT, and where io_uring is not to be had.

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "os/file.h"
#include "os/io_queue.h"
#include "tests/support/child.h"
#include "tests/support/forbid_syscalls.h"
#include "tests/support/sanitizer.h"

namespace os {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kPages = 300;

// The links of /proc/self/fd that name io_uring.
size_t CountRings() {
  size_t count = 0;
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) return count;
  while (const dirent* entry = readdir(directory)) {
    std::array<char, 256> target = {};
    const ssize_t size =
        readlinkat(dirfd(directory), entry->d_name, target.data(), target.size() - 1);
    if (size > 0 && std::strstr(target.data(), "io_uring") != nullptr) ++count;
  }
  (void)closedir(directory);
  return count;
}

bool RingsAreToBeHad() { return OpenRing(-1, 8).ok(); }

// Buffers as O_DIRECT wants them.
class Pages {
 public:
  std::span<std::byte> operator[](size_t index) { return {bytes_.get() + index * kPage, kPage}; }
  void Fill(uint8_t first) {
    for (size_t i = 0; i < kPages; ++i) {
      std::memset((*this)[i].data(), static_cast<uint8_t>(first + i % 100), kPage);
    }
  }
  // Whether they are as Fill made them.
  bool AreFilled(uint8_t first) {
    Pages expected;
    expected.Fill(first);
    return std::memcmp(bytes_.get(), expected.bytes_.get(), kPages * kPage) == 0;
  }

 private:
  struct Delete {
    void operator()(std::byte* bytes) const { operator delete[](bytes, std::align_val_t{kPage}); }
  };
  std::unique_ptr<std::byte[], Delete> bytes_{new (std::align_val_t{kPage})
                                                  std::byte[kPages * kPage]};
};

// Both with and without O_DIRECT.
class IoQueueOnTheKernel : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    const char* directory = std::getenv("TEST_TMPDIR");
    descriptor_ = *CreateUnnamedFile(directory != nullptr ? directory : "/tmp");
    if (GetParam() && fcntl(descriptor_.get(), F_SETFL, O_DIRECT) != 0) {
      GTEST_SKIP() << "no O_DIRECT on this file system: " << Errno::Last().Name();
    }
    file_ = BorrowFile(descriptor_.get());
  }

  void WriteAll(uint8_t first) {
    Pages pages;
    pages.Fill(first);
    std::vector<std::span<const std::byte>> views;
    for (size_t i = 0; i < kPages; ++i) views.push_back(pages[i]);
    std::vector<WriteRequest> requests;
    for (size_t i = 0; i < kPages; i += 3) {
      requests.push_back({.buffers = {&views[i], 3}, .offset = i * kPage, .result = Errno(1)});
    }
    file_->WriteMany(requests);
    for (const WriteRequest& request : requests) ASSERT_EQ(request.result, kSuccess);
  }
  void ReadAll(uint8_t first) {
    Pages pages;
    pages.Fill(255);
    std::vector<ReadRequest> requests;
    for (size_t i = kPages; i-- > 0;) {
      requests.push_back({.buffer = pages[i], .offset = i * kPage, .result = Errno(1)});
    }
    file_->ReadMany(requests);
    for (const ReadRequest& request : requests) {
      ASSERT_TRUE(request.result.ok()) << request.result.error().Name();
      ASSERT_EQ(*request.result, kPage);
    }
    EXPECT_TRUE(pages.AreFilled(first));
  }

  OwnedDescriptor descriptor_;
  std::unique_ptr<File> file_;
};

INSTANTIATE_TEST_SUITE_P(With, IoQueueOnTheKernel, ::testing::Bool(), [](const auto& subject) {
  return subject.param ? "Direct" : "PageCache";
});

TEST_P(IoQueueOnTheKernel, ReadsWhatItWrote) {
  for (const uint8_t first : std::array<uint8_t, 3>{1, 50, 3}) {
    WriteAll(first);
    ReadAll(first);
  }
}

TEST_P(IoQueueOnTheKernel, EndsAtTheEndOfTheFile) {
  WriteAll(1);
  ASSERT_EQ(ftruncate(descriptor_.get(), 2 * kPage + 100), 0);
  Pages pages;
  std::array<ReadRequest, 4> requests;
  for (size_t i = 0; i < 4; ++i) requests[i] = {.buffer = pages[i], .offset = i * kPage};
  file_->ReadMany(requests);
  for (const auto& [index, bytes] : {std::pair(0, kPage), {1, kPage}, {2, 100}, {3, 0}}) {
    const Result<size_t>& result = requests[static_cast<size_t>(index)].result;
    ASSERT_TRUE(result.ok()) << index << result.error().Name();
    EXPECT_EQ(*result, bytes) << index;
  }
}

// With O_DIRECT some file systems refuse it, and others take it through the page cache.
TEST_P(IoQueueOnTheKernel, WhatIsNotAlignedGetsTheAnswerOfASingleRead) {
  WriteAll(1);
  Pages pages;
  std::array<ReadRequest, 3> requests = {{{.buffer = pages[0].subspan(1, 100), .offset = 0},
                                          {.buffer = pages[1], .offset = 7},
                                          {.buffer = pages[2], .offset = kPage}}};
  file_->ReadMany(requests);
  for (const ReadRequest& request : requests) {
    const Result<size_t> single = file_->ReadAt(request.buffer, request.offset);
    EXPECT_EQ(request.result.error(), single.error());
    if (single.ok()) {
      EXPECT_EQ(*request.result, *single);
    }
  }
  EXPECT_EQ(*requests[2].result, kPage);
}

TEST_P(IoQueueOnTheKernel, OpensARingForManyRequestsAlone) {
  if (!RingsAreToBeHad()) GTEST_SKIP() << "no io_uring here";
  Pages pages;
  ReadRequest one{.buffer = pages[0], .offset = 0};
  file_->ReadMany({&one, 1});
  EXPECT_EQ(CountRings(), 0u);
  WriteAll(1);
  EXPECT_EQ(CountRings(), GetParam() ? 1u : 0u);
  ReadAll(1);
  ReadAll(1);
  EXPECT_EQ(CountRings(), 1u);
  file_.reset();
  EXPECT_EQ(CountRings(), 0u);
}

TEST_P(IoQueueOnTheKernel, ThreadsLeaveFewRings) {
  WriteAll(1);
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([this] {
      for (int round = 0; round < 10; ++round) ReadAll(1);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(CountRings(), IoQueue::kRingsKept);
}

TEST_P(IoQueueOnTheKernel, WorksWhereIoUringIsForbidden) {
  for (const int code : {EPERM, ENOSYS}) {
    test_support::RunInChild([&] {
      const std::array numbers = {static_cast<long>(SYS_io_uring_setup)};
      test_support::ForbidSyscalls(numbers, code);
      if (IsSkipped()) return;
      ASSERT_EQ(OpenRing(descriptor_.get(), 8).error(), Errno(code));
      WriteAll(7);
      ReadAll(7);
      EXPECT_EQ(CountRings(), 0u);
    });
  }
}

TEST_P(IoQueueOnTheKernel, WorksWhereIoUringIsForbiddenLater) {
  test_support::RunInChild([&] {
    WriteAll(1);
    ReadAll(1);
    const std::array numbers = {static_cast<long>(SYS_io_uring_setup),
                                static_cast<long>(SYS_io_uring_enter)};
    test_support::ForbidSyscalls(numbers, EPERM);
    if (IsSkipped()) return;
    WriteAll(9);
    ReadAll(9);
    EXPECT_EQ(CountRings(), 0u);
  });
}

TEST_P(IoQueueOnTheKernel, WorksWithoutADescriptorToSpare) {
  if (test_support::kAddressSanitizer) {
    GTEST_SKIP() << "the sanitizers themselves need a descriptor, to look at memory";
  }
  test_support::RunInChild([&] {
    const rlimit none{static_cast<rlim_t>(descriptor_.get()) + 1,
                      static_cast<rlim_t>(descriptor_.get()) + 1};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    WriteAll(2);
    ReadAll(2);
  });
}

TEST_P(IoQueueOnTheKernel, WorksWithoutMemoryToLock) {
  test_support::RunInChild(test_support::Limited(0), [&] {
    WriteAll(3);
    ReadAll(3);
  });
}

TEST_P(IoQueueOnTheKernel, AChildAndItsParentGoOn) {
  WriteAll(1);
  ReadAll(1);
  test_support::RunInChild([&] {
    ReadAll(1);
    WriteAll(2);
    ReadAll(2);
    file_.reset();
  });
  ReadAll(2);
  WriteAll(4);
  ReadAll(4);
}

// Without the check, a ring would read from the pipe, and wait for it.
TEST(IoQueue, OfAPipeCannotBePositioned) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const OwnedDescriptor reading(ends[0]), writing(ends[1]);
  std::array<std::byte, 2> buffer;
  std::array<ReadRequest, 2> requests = {{{.buffer = buffer}, {.buffer = buffer}}};
  BorrowFile(reading.get())->ReadMany(requests);
  EXPECT_EQ(requests[0].result.error(), Errno(ESPIPE));
  EXPECT_EQ(requests[1].result.error(), Errno(ESPIPE));
}

TEST(IoQueue, OfNoDescriptorFails) {
  std::array<std::byte, 2> buffer;
  std::array<ReadRequest, 2> requests = {{{.buffer = buffer}, {.buffer = buffer}}};
  BorrowFile(-1)->ReadMany(requests);
  EXPECT_EQ(requests[1].result.error(), Errno(EBADF));
}

}  // namespace
}  // namespace os
