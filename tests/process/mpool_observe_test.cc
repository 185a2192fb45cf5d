// Pools as they are seen from outside, while they are used, opened, closed, forked and damaged.

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "mpool/internal/pool_report.h"
#include "mpool/internal/publisher.h"
#include "mpool/internal/shared_region.h"
#include "mpool/page_pool.h"
#include "os/local_socket.h"
#include "tests/process/shared_pool.h"
#include "tests/support/child.h"
#include "tests/support/sanitizer.h"
#include "tests/support/test_file.h"

namespace test_support {
namespace {

using mpool::internal::FrameState;
using mpool::internal::PoolReport;
using mpool::internal::PublishedProcess;
using mpool::internal::SharedRegion;

constexpr uint32_t kPageSize = kSharedPageSize;
constexpr std::chrono::milliseconds kPatience{60'000};
constexpr int kQuestions = kAddressSanitizer || kThreadSanitizer ? 20 : 100;

// What this process publishes, by way of its socket.
std::vector<PoolReport> AskThisProcess() {
  std::vector<int32_t> silent;
  const os::Result<std::vector<PublishedProcess>> all =
      mpool::internal::AskPublished(kPatience, silent);
  EXPECT_TRUE(all.ok());
  for (const PublishedProcess& process : *all) {
    if (process.pid == getpid()) return process.report.pools;
  }
  return {};
}

std::unique_ptr<mpool::PagePool> OpenPublished(const TestFile& file, uint32_t pages_max) {
  auto pool = mpool::PagePool::Open(
      file.fd(), {.page_size = kPageSize, .pages_max = pages_max, .publish = true});
  EXPECT_TRUE(pool.ok()) << pool.status();
  return *std::move(pool);
}

// What is always so, whatever goes on.
void ExpectSane(const PoolReport& report, uint64_t pages_max) {
  EXPECT_EQ(report.page_size, kPageSize);
  EXPECT_EQ(report.frame_stride, kPageSize);
  EXPECT_LE(report.ordinary, pages_max);
  EXPECT_GE(report.frames.size(), report.ordinary);
  EXPECT_LE(report.stats.dirty, report.frames.size());
  for (const auto marks : report.frames) {
    EXPECT_LE(marks & mpool::internal::kFrameStateMask, static_cast<int>(FrameState::kWriteback));
  }
  for (const auto& pin : report.pins) {
    EXPECT_LT(pin.frame, report.frames.size());
    EXPECT_GE(pin.pins, 1u);
    EXPECT_GT(pin.pid, 0);
  }
}

// Threads that get, change and put pages of a pool until the end of the scope.
class Users {
 public:
  explicit Users(mpool::PagePool& pool) {
    for (unsigned seed = 1; seed <= 2; ++seed) {
      threads_.emplace_back([this, &pool, seed] {
        for (uint64_t i = seed; !stop_; i = i * 6364136223846793005u + 1442695040888963407u) {
          const auto page = static_cast<mpool::PageNumber>((i >> 33) % 64);
          if ((i >> 40) % 4 == 0) {
            auto pin = pool.GetForWrite(page);
            if (pin.ok()) pin->MarkDirty();
          } else {
            (void)pool.Get(page);
          }
        }
      });
    }
  }
  ~Users() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

TEST(MpoolPublished, CanBeAskedWhileItIsUsed) {
  const TestFile file(64, kPageSize);
  const auto pool = OpenPublished(file, 16);
  const Users users(*pool);
  uint64_t gets = 0;
  for (int i = 0; i < kQuestions; ++i) {
    const std::vector<PoolReport> pools = AskThisProcess();
    ASSERT_EQ(pools.size(), 1u);
    ExpectSane(pools[0], 16);
    EXPECT_GE(pools[0].stats.gets, gets);
    gets = pools[0].stats.gets;
  }
  EXPECT_GT(gets, 0u);
}

TEST(MpoolPublished, CanBeAskedWhileOthersComeAndGo) {
  const TestFile file(64, kPageSize);
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      while (!stop) {
        const auto pool = OpenPublished(file, 4);
        (void)pool->Get(1);
      }
    });
  }
  for (int i = 0; i < kQuestions; ++i) {
    const std::vector<PoolReport> pools = AskThisProcess();
    EXPECT_LE(pools.size(), 2u);
    for (const PoolReport& pool : pools) ExpectSane(pool, 4);
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(AskThisProcess().empty());
  const auto pool = OpenPublished(file, 4);
  EXPECT_EQ(AskThisProcess().size(), 1u) << "it can be published again";
}

TEST(MpoolPublished, AnswersWhileTheProcessForks) {
  if (kThreadSanitizer || kAddressSanitizer) {
    GTEST_SKIP()
        << "the sanitizer's own latches may be held by a thread that a child does not have";
  }
  const TestFile file(64, kPageSize);
  auto pool = OpenPublished(file, 4);
  std::atomic<bool> stop{false};
  std::thread asker([&] {
    while (!stop) EXPECT_EQ(AskThisProcess().size(), 1u);
  });
  for (int i = 0; i < 20; ++i) {
    // The child has a pool of its own, and is asked for that one.
    RunInChild([&] {
      EXPECT_TRUE(AskThisProcess().empty());
      const auto own = OpenPublished(file, 4);
      EXPECT_EQ(AskThisProcess().size(), 1u);
    });
  }
  stop = true;
  asker.join();
}

TEST(MpoolPublished, DoesNotAnswerOtherUsers) {
  if (geteuid() != 0) GTEST_SKIP() << "not root: cannot become another user";
  const TestFile file(64, kPageSize);
  const auto pool = OpenPublished(file, 4);
  ASSERT_EQ(AskThisProcess().size(), 1u);
  const os::Result<std::vector<std::string>> names = os::LocalListener::List("mpool-stat.0.");
  const std::string ending = "." + std::to_string(getpid()) + ".0";
  ASSERT_TRUE(names.ok());
  const auto name =
      std::ranges::find_if(*names, [&](const std::string& one) { return one.ends_with(ending); });
  ASSERT_NE(name, names->end());
  RunInChild([&] {
    if (setresuid(65534, 65534, 65534) != 0) GTEST_SKIP() << "cannot become another user";
    const auto connection = os::LocalConnection::Connect(*name, kPatience);
    ASSERT_TRUE(connection.ok());
    std::vector<std::byte> bytes;
    // It hangs up, with or without having looked at what came.
    (void)connection->ReceiveAll(1 << 20, bytes);
    EXPECT_TRUE(bytes.empty());
  });
}

TEST_F(MpoolShared, CanBeObservedWhileItIsUsed) {
  auto pool =
      mpool::PagePool::Open(file_.fd(), {.key = key_, .page_size = kPageSize, .pages_max = 16});
  ASSERT_TRUE(pool.ok()) << pool.status();
  const std::string name = PathOf(key_).substr(sizeof(SharedRegion::kFolder));
  const Users users(**pool);
  for (int i = 0; i < kQuestions; ++i) {
    const os::Result<PoolReport> report = SharedRegion::Observe(name);
    ASSERT_TRUE(report.ok());
    ExpectSane(*report, 16);
    EXPECT_EQ(report->key, key_);
    ASSERT_EQ(report->participants.size(), 1u);
    EXPECT_EQ(report->participants[0].pid, getpid());
    EXPECT_EQ(report->participants[0].alive, 1u);
  }
}

TEST_F(MpoolShared, IsNotObservedWhereItsObjectIsDamaged) {
  const Pool pool = OpenShared(key_, file_.fd(), kPageSize, 16);
  ASSERT_NE(pool, nullptr) << mpool_error();
  const std::string path = PathOf(key_);
  const std::string name = path.substr(sizeof(SharedRegion::kFolder));
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  // Each byte of the superblock's numbers in turn, as if it were the highest.
  const auto there = SharedRegion::Observe(name);
  ASSERT_TRUE(there.ok());
  for (off_t at = 0; at < 64; ++at) {
    unsigned char byte = 0;
    ASSERT_EQ(pread(fd, &byte, 1, at), 1);
    const unsigned char other = static_cast<unsigned char>(byte ^ 0xff);
    ASSERT_EQ(pwrite(fd, &other, 1, at), 1);
    const auto damaged = SharedRegion::Observe(name);
    if (!damaged.ok()) {
      EXPECT_EQ(damaged.error(), os::Errno(EPROTO)) << at;
    } else {
      EXPECT_LE(damaged->frames.size(), there->frames.size()) << at;
    }
    ASSERT_EQ(pwrite(fd, &byte, 1, at), 1);
  }
  EXPECT_TRUE(SharedRegion::Observe(name).ok());
  EXPECT_EQ(SharedRegion::Observe(name + "0").error(), os::Errno(ENOENT));
  close(fd);
}

}  // namespace
}  // namespace test_support
