// What the tests of PoolCore share: a pool over a file in memory, whose reads and writes call a
// hook.

#ifndef MPOOL_INTERNAL_POOL_CORE_FIXTURE_H_
#define MPOOL_INTERNAL_POOL_CORE_FIXTURE_H_

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "mpool/internal/error_text.h"
#include "mpool/internal/pool_core.h"
#include "os/fake_file.h"
#include "tests/support/counting_locker.h"

namespace mpool::internal {

inline constexpr uint32_t kPageSize = 64;

// A file whose reads and writes call a hook first, in the midst of the pool's I/O: what the hook
// does to the pool is what another thread might do at that moment.
class HookedFile final : public os::File {
 public:
  using Hook = std::function<os::Errno(PageNumber)>;
  struct Hooks {
    Hook read, write;
    std::function<os::Errno()> sync;
    std::vector<std::pair<PageNumber, size_t>> writes;  // first page and count, in order
  };
  HookedFile(os::File& file, Hooks& hooks) : file_(file), hooks_(hooks) {}

  os::Result<uint64_t> Size() const override { return file_.Size(); }
  os::Result<size_t> ReadAt(std::span<std::byte> buffer, uint64_t offset) override {
    const os::Errno error = Call(hooks_.read, offset);
    if (!error.ok()) return error;
    return file_.ReadAt(buffer, offset);
  }
  os::Errno WriteAt(std::span<const std::span<const std::byte>> buffers, uint64_t offset) override {
    hooks_.writes.emplace_back(static_cast<PageNumber>(offset / kPageSize), buffers.size());
    if (const os::Errno error = Call(hooks_.write, offset); !error.ok()) return error;
    return file_.WriteAt(buffers, offset);
  }
  os::Errno Sync() override {
    const os::Errno error = hooks_.sync ? hooks_.sync() : os::kSuccess;
    return error.ok() ? file_.Sync() : error;
  }

 private:
  static os::Errno Call(const Hook& hook, uint64_t offset) {
    const Hook running = hook;  // it may replace itself
    return running ? running(static_cast<PageNumber>(offset / kPageSize)) : os::kSuccess;
  }
  os::File& file_;
  Hooks& hooks_;
};

class PoolCoreTest : public testing::Test {
 protected:
  void Open(uint64_t pages_max, PageNumber pages = 400, PoolConfig config = {}) {
    std::vector<std::byte> contents(size_t{pages} * kPageSize);
    for (PageNumber page = 0; page < pages; ++page) {
      std::memset(contents.data() + size_t{page} * kPageSize, static_cast<uint8_t>(page),
                  kPageSize);
    }
    file_ = std::make_unique<os::testing::FakeFile>(std::move(contents));
    config.page_size = kPageSize;
    config.pages_max = pages_max;
    const os::Result<PoolCore*> pool = PoolCore::Open(
        os::RealMemory(), locker_, std::make_unique<HookedFile>(*file_, hooks_), config);
    ASSERT_TRUE(pool.ok());
    pool_ = *pool;
  }
  ~PoolCoreTest() override {
    if (pool_ != nullptr) PoolCore::Close(pool_);
  }

  std::byte* Get(PageNumber page) { return Pin(page, Access::kPinned).bytes; }
  void Put(std::byte* bytes, bool dirty = false) {
    EXPECT_EQ(pool_->Put(bytes, dirty), os::kSuccess);
  }
  Pinned Pin(PageNumber page, Access access) {
    const os::Result<Pinned> pinned = pool_->Get(page, access);
    EXPECT_TRUE(pinned.ok()) << pinned.error().Name() << ": " << ErrorText();
    return pinned.ok() ? *pinned : Pinned();
  }
  void GetAndPut(PageNumber page, Access access) {
    pool_->Release(Pin(page, access), access, false);
  }
  void Change(PageNumber page, uint8_t value) {
    std::byte* const bytes = Get(page);
    std::memset(bytes, value, kPageSize);
    Put(bytes, /*dirty=*/true);
  }
  uint8_t InFile(PageNumber page) const {
    return static_cast<uint8_t>(file_->contents()[size_t{page} * kPageSize]);
  }

  test_support::CountingLocker locker_;
  HookedFile::Hooks hooks_;
  std::unique_ptr<os::testing::FakeFile> file_;
  PoolCore* pool_ = nullptr;
};

// Starts a thread in the midst of the I/O, and lets the I/O go on once that thread had time to get
// as far as it can: what it must not do before the I/O is over, it has then not done.
class Meanwhile {
 public:
  void Start(std::function<void()> body) {
    thread_ = std::thread([this, body = std::move(body)] {
      body();
      done_ = true;
    });
    for (int i = 0; i < 100 && !done_; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    done_in_time_ = done_;
  }
  // Waits for the thread; whether it was done before the I/O was.
  bool Join() {
    thread_.join();
    return done_in_time_;
  }

 private:
  std::atomic<bool> done_ = false;
  bool done_in_time_ = false;
  std::thread thread_;
};

}  // namespace mpool::internal

#endif  // MPOOL_INTERNAL_POOL_CORE_FIXTURE_H_
