// The contract of File, on a descriptor and on the fake.

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "os/fake_file.h"
#include "os/file.h"

namespace os {
namespace {

using Bytes = std::vector<std::byte>;
using Buffers = std::vector<std::span<const std::byte>>;

Bytes BytesOf(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return Bytes(bytes.begin(), bytes.end());
}

class FileContract : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "Descriptor") {
      const char* directory = std::getenv("TEST_TMPDIR");
      Result<OwnedDescriptor> descriptor =
          CreateUnnamedFile(directory != nullptr ? directory : "/tmp");
      ASSERT_TRUE(descriptor.ok()) << descriptor.error().Name();
      descriptor_ = *std::move(descriptor);
      file_ = BorrowFile(descriptor_.get());
      return;
    }
    auto fake = std::make_unique<testing::FakeFile>();
    if (GetParam() == "FakeOfShortTransfers") fake->set_transfer_max(3);
    file_ = std::move(fake);
  }

  Errno Write(const std::string& text, uint64_t offset) {
    const Bytes bytes = BytesOf(text);
    const Buffers buffers = {std::span(bytes)};
    return file_->WriteAt(buffers, offset);
  }

  // What a read of `size` bytes gives; a failure is a failure of the test.
  std::string Read(size_t size, uint64_t offset) {
    std::string text(size, '#');
    const Result<size_t> bytes = file_->ReadAt(std::as_writable_bytes(std::span(text)), offset);
    EXPECT_TRUE(bytes.ok()) << bytes.error().Name();
    EXPECT_EQ(text.find_first_not_of('#', *bytes), std::string::npos) << "beyond what was read";
    return text.substr(0, *bytes);
  }

  OwnedDescriptor descriptor_;
  std::unique_ptr<File> file_;
};

INSTANTIATE_TEST_SUITE_P(Of, FileContract,
                         ::testing::Values("Descriptor", "Fake", "FakeOfShortTransfers"),
                         [](const auto& subject) { return subject.param; });

TEST_P(FileContract, BeginsEmpty) {
  EXPECT_EQ(*file_->Size(), 0u);
  EXPECT_EQ(Read(10, 0), "");
}

TEST_P(FileContract, ReadsWhatWasWritten) {
  ASSERT_EQ(Write("hello, world", 0), kSuccess);
  EXPECT_EQ(*file_->Size(), 12u);
  EXPECT_EQ(Read(12, 0), "hello, world");
  EXPECT_EQ(Read(5, 7), "world");
  ASSERT_EQ(Write("W", 7), kSuccess);
  EXPECT_EQ(Read(12, 0), "hello, World");
  EXPECT_EQ(*file_->Size(), 12u);
}

TEST_P(FileContract, ReadStopsAtTheEnd) {
  ASSERT_EQ(Write("0123456789", 0), kSuccess);
  EXPECT_EQ(Read(20, 0), "0123456789");
  EXPECT_EQ(Read(10, 6), "6789");
  EXPECT_EQ(Read(1, 9), "9");
  EXPECT_EQ(Read(1, 10), "");
  EXPECT_EQ(Read(10, 1000), "");
}

TEST_P(FileContract, WriteBeyondTheEndLeavesZerosBetween) {
  ASSERT_EQ(Write("ab", 0), kSuccess);
  ASSERT_EQ(Write("cd", 6), kSuccess);
  EXPECT_EQ(*file_->Size(), 8u);
  EXPECT_EQ(Read(8, 0), std::string("ab\0\0\0\0cd", 8));
}

TEST_P(FileContract, BuffersFollowOneAnother) {
  const Bytes a = BytesOf("one"), b = BytesOf("two"), c = BytesOf("three");
  const std::span<const std::byte> none;
  const Buffers buffers = {none, a, none, none, b, c, none};
  ASSERT_EQ(file_->WriteAt(buffers, 4), kSuccess);
  EXPECT_EQ(Read(100, 4), "onetwothree");
}

// One system call takes IOV_MAX = 1,024 buffers.
TEST_P(FileContract, TakesMoreBuffersThanOneSystemCall) {
  std::vector<Bytes> parts;
  std::string expected;
  for (int i = 0; i < 2500; ++i) {
    const std::string text = i % 7 == 0 ? "" : std::to_string(i) + ",";
    parts.push_back(BytesOf(text));
    expected += text;
  }
  const Buffers buffers(parts.begin(), parts.end());
  ASSERT_EQ(file_->WriteAt(buffers, 1), kSuccess);
  EXPECT_EQ(*file_->Size(), expected.size() + 1);
  EXPECT_EQ(Read(expected.size(), 1), expected);
}

TEST_P(FileContract, NothingIsWrittenForEmptyBuffers) {
  EXPECT_EQ(file_->WriteAt({}, 100), kSuccess);
  const Buffers empty(3000);
  EXPECT_EQ(file_->WriteAt(empty, 100), kSuccess);
  EXPECT_EQ(*file_->Size(), 0u);
  EXPECT_EQ(*file_->ReadAt({}, 0), 0u);
  EXPECT_EQ(*file_->ReadAt({}, 100), 0u);
}

TEST_P(FileContract, AnOffsetThatIsNoneIsInvalid) {
  std::byte byte{};
  EXPECT_EQ(Write("x", uint64_t{1} << 63), Errno(EINVAL));
  EXPECT_EQ(Write("x", UINT64_MAX), Errno(EINVAL));
  EXPECT_EQ(file_->ReadAt({&byte, 1}, uint64_t{1} << 63).error(), Errno(EINVAL));
  EXPECT_EQ(*file_->Size(), 0u);
}

TEST_P(FileContract, LargeTransfersAreComplete) {
  std::string text(1 << 20, ' ');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i % 23);
  ASSERT_EQ(Write(text, 123), kSuccess);
  EXPECT_EQ(Read(text.size(), 123), text);
}

TEST_P(FileContract, SyncSucceedsAndChangesNothing) {
  EXPECT_EQ(file_->Sync(), kSuccess);
  ASSERT_EQ(Write("abc", 0), kSuccess);
  EXPECT_EQ(file_->Sync(), kSuccess);
  EXPECT_EQ(Read(3, 0), "abc");
}

TEST_P(FileContract, ReadManyReadsEachRequest) {
  std::string text(100'000, ' ');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i % 23);
  ASSERT_EQ(Write(text, 0), kSuccess);
  // More than are in flight at once, of many sizes, backwards; some end behind the end of the file.
  std::vector<Bytes> buffers;
  std::vector<ReadRequest> requests;
  for (size_t i = 0; i < 500; ++i) buffers.emplace_back(1 + i * 7 % 900, std::byte{'#'});
  for (size_t i = 0; i < buffers.size(); ++i) {
    requests.push_back({.buffer = buffers[i], .offset = text.size() - i * 200, .result = Errno(1)});
  }
  file_->ReadMany(requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    const size_t offset = text.size() - i * 200;
    const Bytes expected = BytesOf(text.substr(offset, buffers[i].size()));
    ASSERT_TRUE(requests[i].result.ok()) << i;
    ASSERT_EQ(*requests[i].result, expected.size()) << i;
    buffers[i].resize(expected.size());
    EXPECT_EQ(buffers[i], expected) << i;
  }
}

TEST_P(FileContract, WriteManyWritesEachRequest) {
  std::vector<Bytes> parts;
  std::vector<Buffers> buffers;
  std::string expected;
  for (int i = 0; i < 3 * 400; ++i) {
    parts.push_back(BytesOf(std::to_string(i) + (i % 5 == 0 ? "" : std::string(300, ';'))));
  }
  for (size_t i = 0; i < parts.size(); i += 3) {
    buffers.push_back({parts[i], {}, parts[i + 1], parts[i + 2]});
  }
  std::vector<WriteRequest> requests;
  for (const Buffers& list : buffers) {
    requests.push_back({.buffers = list, .offset = expected.size(), .result = Errno(1)});
    for (const auto& part : list) {
      for (const std::byte byte : part) expected += static_cast<char>(byte);
    }
  }
  file_->WriteMany(requests);
  for (const WriteRequest& request : requests) ASSERT_EQ(request.result, kSuccess);
  EXPECT_EQ(*file_->Size(), expected.size());
  EXPECT_EQ(Read(expected.size(), 0), expected);
}

TEST_P(FileContract, ARequestThatFailsLeavesTheOthers) {
  ASSERT_EQ(Write("0123456789", 0), kSuccess);
  std::array<std::byte, 4> a, b, c;
  std::array<ReadRequest, 4> reads = {{{.buffer = a, .offset = 2},
                                       {.buffer = b, .offset = UINT64_MAX},
                                       {.buffer = c, .offset = 8},
                                       {.buffer = {}, .offset = 3, .result = Errno(1)}}};
  file_->ReadMany(reads);
  EXPECT_EQ(*reads[0].result, 4u);
  EXPECT_EQ(a[0], std::byte{'2'});
  EXPECT_EQ(reads[1].result.error(), Errno(EINVAL));
  EXPECT_EQ(*reads[2].result, 2u);
  EXPECT_EQ(c[1], std::byte{'9'});
  EXPECT_EQ(*reads[3].result, 0u);
  const Bytes text = BytesOf("ab");
  const Buffers buffers = {std::span(text)};
  std::array<WriteRequest, 3> writes = {{{.buffers = buffers, .offset = uint64_t{1} << 63},
                                         {.buffers = buffers, .offset = 10},
                                         {.buffers = {}, .offset = 99, .result = Errno(1)}}};
  file_->WriteMany(writes);
  EXPECT_EQ(writes[0].result, Errno(EINVAL));
  EXPECT_EQ(writes[1].result, kSuccess);
  EXPECT_EQ(writes[2].result, kSuccess);
  EXPECT_EQ(Read(20, 0), "0123456789ab");
}

TEST_P(FileContract, NoRequestsAreNone) {
  file_->ReadMany({});
  file_->WriteMany({});
  EXPECT_EQ(*file_->Size(), 0u);
}

TEST_P(FileContract, ThreadsCanReadManyAtOnce) {
  ASSERT_EQ(Write(std::string(5000, 'x') + std::string(5000, 'y'), 0), kSuccess);
  std::vector<std::thread> threads;
  for (uint64_t thread = 0; thread < 6; ++thread) {
    threads.emplace_back([this, thread] {
      std::vector<Bytes> buffers(20, Bytes(100));
      std::vector<ReadRequest> requests;
      for (Bytes& buffer : buffers) {
        requests.push_back({.buffer = buffer, .offset = thread % 2 * 5000 + requests.size() * 100});
      }
      for (int round = 0; round < 50; ++round) {
        file_->ReadMany(requests);
        for (size_t i = 0; i < requests.size(); ++i) {
          ASSERT_EQ(*requests[i].result, 100u);
          ASSERT_EQ(buffers[i], BytesOf(std::string(100, thread % 2 == 0 ? 'x' : 'y')));
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_P(FileContract, ThreadsCanWriteAtOnce) {
  std::vector<std::thread> threads;
  for (uint64_t i = 0; i < 4; ++i) {
    threads.emplace_back([this, i] {
      for (uint64_t round = 0; round < 50; ++round) {
        EXPECT_EQ(Write(std::string(10, static_cast<char>('a' + i)), (round * 4 + i) * 10),
                  kSuccess);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::string expected;
  for (int round = 0; round < 50; ++round) {
    for (const char letter : {'a', 'b', 'c', 'd'}) expected += std::string(10, letter);
  }
  EXPECT_EQ(Read(3000, 0), expected);
}

}  // namespace
}  // namespace os
