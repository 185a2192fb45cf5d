// IoQueue over a ring that does what a kernel may do and seldom does.

#include "os/io_queue.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "os/file.h"

namespace os {
namespace {

constexpr size_t kPage = 512;

// What the rings of a test do, and what was done with them.
struct Plan {
  size_t transfer_max = SIZE_MAX;    // bytes of a transfer, at most
  std::map<uint64_t, int> failures;  // what the first transfer at an offset results in, once
  int wait_fails = 0;                // Wait fails with this errno ...
  int waits_before = 0;              // ... after so many that succeeded
  Errno open_error;
  unsigned depth = IoQueue::kDepth;

  size_t opened = 0;
  size_t destroyed = 0;
  size_t drained = 0;
  size_t most_at_once = 0;
  std::vector<uint64_t> offsets;  // of all transfers, as pushed
};
Plan plan;

class FakeRing final : public Ring {
 public:
  explicit FakeRing(int descriptor) : descriptor_(descriptor) {}
  ~FakeRing() override {
    EXPECT_TRUE(pushed_.empty()) << "destroyed in the midst";
    ++plan.destroyed;
  }

  bool Usable() const override { return true; }
  unsigned depth() const override { return plan.depth; }
  void Push(const Transfer& transfer) override {
    pushed_.push_back(transfer);
    plan.offsets.push_back(transfer.offset);
    plan.most_at_once = std::max(plan.most_at_once, pushed_.size());
  }
  Errno Wait() override {
    EXPECT_FALSE(pushed_.empty()) << "nothing to wait for";
    if (plan.wait_fails != 0 && plan.waits_before-- == 0) return Errno(plan.wait_fails);
    ready_ = (pushed_.size() + 1) / 2;
    return kSuccess;
  }
  // The last one first.
  std::optional<Completion> Pop() override {
    if (ready_ == 0) return std::nullopt;
    --ready_;
    const Transfer transfer = pushed_.back();
    pushed_.pop_back();
    return Completion{transfer.tag, Carry(transfer)};
  }
  void Drain() override {
    pushed_.clear();
    ++plan.drained;
  }

 private:
  int Carry(const Transfer& transfer) const {
    if (const auto failure = plan.failures.extract(transfer.offset)) return failure.mapped();
    size_t left = plan.transfer_max;
    int done = 0;
    for (const iovec& part : transfer.parts) {
      const size_t size = std::min(left, part.iov_len);
      const off_t offset = static_cast<off_t>(transfer.offset) + done;
      const ssize_t bytes = transfer.write ? pwrite(descriptor_, part.iov_base, size, offset)
                                           : pread(descriptor_, part.iov_base, size, offset);
      EXPECT_GE(bytes, 0);
      done += static_cast<int>(bytes);
      left -= static_cast<size_t>(bytes);
      if (static_cast<size_t>(bytes) < part.iov_len) break;
    }
    return done;
  }

  const int descriptor_;
  std::deque<Transfer> pushed_;
  size_t ready_ = 0;
};

Result<std::unique_ptr<Ring>> OpenFakeRing(int descriptor, unsigned) {
  ++plan.opened;
  if (!plan.open_error.ok()) return plan.open_error;
  return std::unique_ptr<Ring>(std::make_unique<FakeRing>(descriptor));
}

// A file of 300 pages, each of its own letter, and buffers for all of them.
class IoQueueTest : public ::testing::Test {
 protected:
  static constexpr size_t kPages = 300;

  IoQueueTest() {
    plan = Plan();
    const char* directory = std::getenv("TEST_TMPDIR");
    descriptor_ = *CreateUnnamedFile(directory != nullptr ? directory : "/tmp");
    for (size_t i = 0; i < kPages; ++i) buffers_.push_back(Page(i));
    WriteAll();
    plan = Plan();
  }

  static std::vector<std::byte> Page(size_t index) {
    return std::vector<std::byte>(kPage, static_cast<std::byte>(index % 251));
  }
  IoQueue& queue() {
    if (queue_ == nullptr) queue_ = std::make_unique<IoQueue>(descriptor_.get(), OpenFakeRing);
    return *queue_;
  }
  void WriteAll() {
    std::vector<std::span<const std::byte>> views(buffers_.begin(), buffers_.end());
    std::vector<WriteRequest> requests;
    for (size_t i = 0; i < kPages; ++i) {
      requests.push_back({.buffers = {&views[i], 1}, .offset = i * kPage, .result = Errno(1)});
    }
    queue().Write(requests);
    for (const WriteRequest& request : requests) EXPECT_EQ(request.result, kSuccess);
  }
  // Reads all pages; those of `failing` must fail with EIO, the others be right.
  void ReadAll(const std::vector<size_t>& failing = {}) {
    std::vector<ReadRequest> requests;
    for (size_t i = 0; i < kPages; ++i) {
      buffers_[i].assign(kPage, std::byte{255});
      requests.push_back({.buffer = buffers_[i], .offset = i * kPage});
    }
    queue().Read(requests);
    for (size_t i = 0; i < kPages; ++i) {
      if (std::find(failing.begin(), failing.end(), i) != failing.end()) {
        EXPECT_EQ(requests[i].result.error(), Errno(EIO)) << i;
        continue;
      }
      ASSERT_TRUE(requests[i].result.ok()) << i << requests[i].result.error().Name();
      EXPECT_EQ(*requests[i].result, kPage) << i;
      EXPECT_EQ(buffers_[i], Page(i)) << i;
    }
  }

  OwnedDescriptor descriptor_;
  std::unique_ptr<IoQueue> queue_;
  std::vector<std::vector<std::byte>> buffers_;
};

TEST_F(IoQueueTest, SubmitsInOrderAndAtMostItsDepth) {
  ReadAll();
  EXPECT_EQ(plan.most_at_once, IoQueue::kDepth);
  EXPECT_EQ(plan.offsets.size(), kPages);
  EXPECT_TRUE(std::is_sorted(plan.offsets.begin(), plan.offsets.end()));
}

TEST_F(IoQueueTest, KeepsItsRing) {
  queue_.reset();
  ReadAll();
  WriteAll();
  ReadAll();
  EXPECT_EQ(plan.opened, 1u);
  EXPECT_EQ(plan.destroyed, 1u);  // the first queue's
  queue_.reset();
  EXPECT_EQ(plan.destroyed, 2u);
}

TEST_F(IoQueueTest, OneRequestTakesNoRing) {
  queue_.reset();
  ReadRequest request{.buffer = buffers_[0], .offset = 0};
  queue().Read({&request, 1});
  EXPECT_EQ(*request.result, kPage);
  EXPECT_EQ(plan.opened, 0u);
}

TEST_F(IoQueueTest, ContinuesShortTransfers) {
  for (const size_t max : std::array<size_t, 3>{1, 100, 511}) {
    plan.transfer_max = max;
    WriteAll();
    ReadAll();
  }
}

TEST_F(IoQueueTest, AShallowRingDoes) {
  for (const unsigned depth : {1u, 2u, 3u}) {
    plan = Plan();
    plan.depth = depth;
    queue_.reset();
    WriteAll();
    ReadAll();
    EXPECT_EQ(plan.most_at_once, depth);
  }
}

TEST_F(IoQueueTest, MoreBuffersThanATransferTakes) {
  const std::string letters = "abcdefghijklmnopqrstuvwxyz";
  std::vector<std::span<const std::byte>> parts;
  std::string expected;
  for (size_t i = 0; i < 1000; ++i) {
    parts.push_back(std::as_bytes(std::span(letters)).subspan(i % 26));
    expected += letters.substr(i % 26);
  }
  std::array<WriteRequest, 2> requests = {
      {{.buffers = parts, .offset = 0}, {.buffers = parts, .offset = expected.size()}}};
  queue().Write(requests);
  EXPECT_EQ(requests[0].result, kSuccess);
  EXPECT_EQ(requests[1].result, kSuccess);
  std::string text(2 * expected.size(), ' ');
  EXPECT_EQ(*BorrowFile(descriptor_.get())->ReadAt(std::as_writable_bytes(std::span(text)), 0),
            text.size());
  EXPECT_EQ(text, expected + expected);
}

TEST_F(IoQueueTest, AnErrorIsItsRequestsAlone) {
  plan.failures = {{3 * kPage, -EIO}, {200 * kPage, -EIO}};
  ReadAll({3, 200});
  ReadAll();
}

TEST_F(IoQueueTest, ADeviceThatTakesNothingIsAnError) {
  plan.failures = {{0, 0}};
  const std::array<std::span<const std::byte>, 1> buffer = {buffers_[0]};
  std::array<WriteRequest, 2> requests = {
      {{.buffers = buffer, .offset = 0}, {.buffers = buffer, .offset = kPage}}};
  queue().Write(requests);
  EXPECT_EQ(requests[0].result, Errno(EIO));
  EXPECT_EQ(requests[1].result, kSuccess);
}

// O_NONBLOCK, a signal, a kernel without the operation.
TEST_F(IoQueueTest, WhatTheRingDoesNotAnswerIsAskedPlainly) {
  plan.failures = {
      {0, -EAGAIN}, {kPage, -EINTR}, {5 * kPage, -ECANCELED}, {7 * kPage, -EOPNOTSUPP}};
  ReadAll();
  EXPECT_TRUE(plan.failures.empty());
}

TEST_F(IoQueueTest, ARingThatEndsIsDrainedAndReplaced) {
  for (int waits = 0; waits < 12; ++waits) {
    plan = Plan();
    plan.wait_fails = EBADF;
    plan.waits_before = waits;
    plan.transfer_max = 300;
    ReadAll();
    EXPECT_EQ(plan.drained, 1u) << waits;
    EXPECT_EQ(plan.destroyed, 1u) << waits;
    plan.wait_fails = 0;
    ReadAll();
    EXPECT_EQ(plan.drained, 1u) << waits;
  }
}

TEST_F(IoQueueTest, ARefusalIsForEver) {
  for (const int code : {ENOSYS, EPERM, EACCES}) {
    plan = Plan();
    plan.open_error = Errno(code);
    queue_.reset();
    ReadAll();
    WriteAll();
    EXPECT_EQ(plan.opened, 1u);
    EXPECT_TRUE(plan.offsets.empty());
  }
}

TEST_F(IoQueueTest, AShortageIsNotForEver) {
  for (const int code : {ENOMEM, EMFILE, ENFILE, EAGAIN}) {
    plan = Plan();
    plan.open_error = Errno(code);
    queue_.reset();
    ReadAll();
    plan.open_error = kSuccess;
    ReadAll();
    EXPECT_EQ(plan.opened, 2u);
    EXPECT_EQ(plan.offsets.size(), kPages);
  }
}

}  // namespace
}  // namespace os
