#include "mpool/internal/page_io.h"

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "os/fake_file.h"

namespace mpool::internal {
namespace {

constexpr uint32_t kPageSize = 8;

std::vector<std::byte> Bytes(const std::string& text) {
  const auto* first = reinterpret_cast<const std::byte*>(text.data());
  return {first, first + text.size()};
}

std::string Text(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// What the filters did, in order.
struct Calls {
  std::vector<std::string> list;
  bool in_filter = false;

  static void In(void* cookie, PageNumber page, void* bytes) {
    static_cast<Calls*>(cookie)->Note("in", page, bytes);
  }
  static void Out(void* cookie, PageNumber page, void* bytes) {
    static_cast<Calls*>(cookie)->Note("out", page, bytes);
    std::memset(bytes, 'W', kPageSize);
  }
  void Note(const char* which, PageNumber page, const void* bytes) {
    in_filter = PageIo::InFilter();
    list.push_back(which + std::to_string(page) + std::string(static_cast<const char*>(bytes), 2));
  }
  Filters filters() { return {&In, &Out, this}; }
};

class PageIoTest : public testing::Test {
 protected:
  PageIo Over(const std::string& contents) {
    auto owned = std::make_unique<os::testing::FakeFile>(Bytes(contents));
    file_ = owned.get();
    return PageIo(std::move(owned), kPageSize);
  }
  std::string frame() const { return Text(frame_); }

  os::testing::FakeFile* file_ = nullptr;
  std::vector<std::byte> frame_ = Bytes("old old ");
};

TEST_F(PageIoTest, ReadsAPageThenFiltersIt) {
  PageIo io = Over("page0...page1...");
  Calls calls;
  EXPECT_EQ(io.Read(1, frame_.data(), true, calls.filters()), os::kSuccess);
  EXPECT_EQ(frame(), "page1...");
  EXPECT_EQ(calls.list, std::vector<std::string>{"in1pa"});
  EXPECT_TRUE(calls.in_filter);
  EXPECT_FALSE(PageIo::InFilter());
}

TEST_F(PageIoTest, AMissingPageIsZeroAndFilteredUnlessItMustExist) {
  PageIo io = Over("page0...");
  Calls calls;
  EXPECT_EQ(io.Read(5, frame_.data(), true, calls.filters()), os::Errno(EINVAL));
  EXPECT_TRUE(calls.list.empty());
  EXPECT_EQ(io.Read(5, frame_.data(), false, calls.filters()), os::kSuccess);
  EXPECT_EQ(frame(), std::string(kPageSize, '\0'));
  EXPECT_EQ(calls.list.size(), 1u);
}

TEST_F(PageIoTest, APartialPageAtTheEndIsNoPage) {
  PageIo io = Over("page0...tail");
  EXPECT_EQ(io.Read(1, frame_.data(), true, {}), os::Errno(EINVAL));
  EXPECT_EQ(io.Read(1, frame_.data(), false, {}), os::kSuccess);
  EXPECT_EQ(frame(), std::string(kPageSize, '\0'));
}

TEST_F(PageIoTest, AReadErrorIsReturnedAndNothingFiltered) {
  PageIo io = Over("page0...page1...");
  file_->AddBadRange(kPageSize, kPageSize);
  Calls calls;
  EXPECT_EQ(io.Read(1, frame_.data(), true, calls.filters()), os::Errno(EIO));
  EXPECT_EQ(io.Read(1, frame_.data(), false, calls.filters()), os::Errno(EIO));
  EXPECT_TRUE(calls.list.empty());
  file_->ClearBadRanges();
  EXPECT_EQ(io.Read(1, frame_.data(), true, calls.filters()), os::kSuccess);
}

TEST_F(PageIoTest, WritesPagesInOneGoAndInShortTransfers) {
  PageIo io = Over("");
  std::vector<std::byte> first = Bytes("aaaaaaaa"), second = Bytes("bbbbbbbb");
  std::byte* const frames[] = {first.data(), second.data()};
  EXPECT_EQ(io.Write(2, frames, {}), os::kSuccess);
  EXPECT_EQ(Text(file_->contents()), std::string(16, '\0') + "aaaaaaaabbbbbbbb");
  file_->set_transfer_max(3);
  EXPECT_EQ(io.Write(0, frames, {}), os::kSuccess);
  EXPECT_EQ(Text(file_->contents()), "aaaaaaaabbbbbbbbaaaaaaaabbbbbbbb");
}

TEST_F(PageIoTest, FiltersCopiesInOrderAndLeavesTheFramesAlone) {
  PageIo io = Over("");
  std::vector<std::byte> first = Bytes("aaaaaaaa"), second = Bytes("bbbbbbbb");
  std::byte* const frames[] = {first.data(), second.data()};
  Calls calls;
  EXPECT_EQ(io.Write(3, frames, calls.filters()), os::kSuccess);
  EXPECT_EQ(calls.list, (std::vector<std::string>{"out3aa", "out4bb"}));
  EXPECT_EQ(Text(first), "aaaaaaaa");
  EXPECT_EQ(Text(second), "bbbbbbbb");
  EXPECT_EQ(Text(file_->contents()).substr(3 * kPageSize), std::string(16, 'W'));
}

TEST_F(PageIoTest, AWriteErrorIsReturnedAndTheFramesAreUnchanged) {
  PageIo io = Over("");
  file_->set_capacity(4);
  std::vector<std::byte> page = Bytes("aaaaaaaa");
  std::byte* const frames[] = {page.data()};
  Calls calls;
  EXPECT_EQ(io.Write(0, frames, calls.filters()), os::Errno(ENOSPC));
  EXPECT_EQ(Text(page), "aaaaaaaa");
}

TEST_F(PageIoTest, OnlySyncMakesItDurable) {
  PageIo io = Over("");
  std::vector<std::byte> page = Bytes("aaaaaaaa");
  std::byte* const frames[] = {page.data()};
  ASSERT_EQ(io.Write(0, frames, {}), os::kSuccess);
  EXPECT_TRUE(file_->synced().empty());
  ASSERT_EQ(io.Sync(), os::kSuccess);
  EXPECT_EQ(Text(file_->synced()), "aaaaaaaa");
  EXPECT_EQ(*io.FileSize(), 8u);
}

TEST(PageIo, BoundsAWriteInPagesAndInBytes) {
  const auto pages = [](uint32_t page_size) {
    return PageIo(std::make_unique<os::testing::FakeFile>(), page_size).pages_per_write();
  };
  EXPECT_EQ(pages(1), 256u);
  EXPECT_EQ(pages(4096), 256u);
  EXPECT_EQ(pages(65536), 16u);
  EXPECT_EQ(pages(1u << 20), 1u);
  EXPECT_EQ(pages(0xffffffff), 1u);
}

TEST_F(PageIoTest, ReachesBeyond4GiB) {
  // Offsets are 64 bits wide: the last page of 64 KiB lies at 256 TiB.
  struct Recorder final : os::File {
    os::Result<uint64_t> Size() const override { return uint64_t{0}; }
    os::Result<size_t> ReadAt(std::span<std::byte>, uint64_t offset) override {
      last = offset;
      return size_t{0};
    }
    os::Errno WriteAt(std::span<const std::span<const std::byte>>, uint64_t offset) override {
      last = offset;
      return os::kSuccess;
    }
    os::Errno Sync() override { return os::kSuccess; }
    uint64_t last = 0;
  };
  auto owned = std::make_unique<Recorder>();
  const Recorder& recorder = *owned;
  PageIo io(std::move(owned), 65536);
  std::vector<std::byte> page(65536);
  EXPECT_EQ(io.Read(kMaxPageNumber - 1, page.data(), false, {}), os::kSuccess);
  EXPECT_EQ(recorder.last, uint64_t{0xfffffffe} << 16);
  std::byte* const frames[] = {page.data()};
  EXPECT_EQ(io.Write(kMaxPageNumber - 1, frames, {}), os::kSuccess);
  EXPECT_EQ(recorder.last, uint64_t{0xfffffffe} << 16);
}

}  // namespace
}  // namespace mpool::internal
