#include "os/live_replace.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <optional>
#include <string>
#include <tuple>

#include "os/live_replace_fixture.h"
#include "tests/support/child.h"

namespace os {
namespace {

using test_support::RunInChild;

// --- Of every kind, on every kernel

class LiveReplaceKinds : public LiveReplaceTest,
                         public testing::WithParamInterface<std::tuple<Kind, Kind, bool>> {
 protected:
  static constexpr size_t kPages = 6;

  void SetUp() override {
    LiveReplaceTest::SetUp();
    if (IsSkipped()) return;
    if (std::get<2>(GetParam())) older_.emplace();
    range_ = NewMemory(std::get<0>(GetParam()), kPages);
    copy_ = NewMemory(std::get<1>(GetParam()), kPages);
    // Half of the pages are absent.
    for (size_t page = 0; page < kPages / 2; ++page) at(page).store(100 + page);
    descriptors_ = OpenDescriptors();
  }
  void TearDown() override {
    if (range_ == nullptr) return;
    EXPECT_EQ(OpenDescriptors(), descriptors_);
    ExpectNothingIsStopped(range_, kPages);
    EXPECT_EQ(UnmapShared(range_, kPages * kPage), kSuccess);
  }

  std::atomic_ref<uint64_t> at(size_t page) const { return Word(range_ + page * kPage); }
  // A writer for each page, which puts its number there; not begun.
  std::deque<Writer>& MakeWriters() {
    for (size_t page = 0; page < kPages; ++page) writers_.emplace_back(range_ + page * kPage, page);
    return writers_;
  }
  void BeginAll() {
    for (Writer& writer : writers_) writer.Begin();
    for (const Writer& writer : writers_) EXPECT_FALSE(writer.IsDone()) << "it did not wait";
  }
  void ExpectAllHaveWritten() {
    for (const Writer& writer : writers_) EXPECT_TRUE(writer.Finish());
    for (size_t page = 0; page < kPages; ++page) EXPECT_EQ(at(page).load(), page);
  }

  std::byte* range_ = nullptr;
  std::byte* copy_ = nullptr;

 private:
  std::optional<OlderKernel> older_;
  std::deque<Writer> writers_;
  size_t descriptors_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Memory, LiveReplaceKinds,
                         testing::Combine(testing::Values(Kind::kPrivate, Kind::kShared),
                                          testing::Values(Kind::kPrivate, Kind::kShared),
                                          testing::Bool()),
                         [](const auto& kinds) {
                           const auto name = [](Kind kind) {
                             return kind == Kind::kPrivate ? "Private" : "Shared";
                           };
                           return std::string(name(std::get<0>(kinds.param))) + "To" +
                                  name(std::get<1>(kinds.param)) +
                                  (std::get<2>(kinds.param) ? "AsOfOld" : "");
                         });

TEST_P(LiveReplaceKinds, WritersWaitAndThenWriteToTheNewMemory) {
  const bool to_shared = std::get<1>(GetParam()) == Kind::kShared;
  std::byte* const other =
      to_shared ? static_cast<std::byte*>(*Duplicate(copy_, kPages * kPage)) : nullptr;
  MakeWriters();
  {
    LiveReplacement replacement(range_, kPages * kPage);
    ASSERT_EQ(replacement.StopWriters(), kSuccess);
    EXPECT_EQ(ProtectedPages(range_, kPages), kPages);
    BeginAll();
    for (size_t page = 0; page < kPages; ++page) {
      EXPECT_EQ(at(page).load(), page < kPages / 2 ? 100 + page : 0) << "it can be read";
    }
    CopyWords(copy_, range_, kPages * kPage);
    EXPECT_EQ(replacement.MoveHere(copy_), kSuccess);
    EXPECT_EQ(at(1).load(), 101u);
    EXPECT_EQ(at(kPages - 1).load(), 0u);
  }
  ExpectAllHaveWritten();
  if (!to_shared) return;
  EXPECT_EQ(Word(other + 5 * kPage).load(), 5u) << "it is not the new memory";
  EXPECT_EQ(UnmapShared(other, kPages * kPage), kSuccess);
}

TEST_P(LiveReplaceKinds, WritersGoOnInTheOldMemoryWhereNothingWasMoved) {
  MakeWriters();
  {
    LiveReplacement replacement(range_, kPages * kPage);
    ASSERT_EQ(replacement.StopWriters(), kSuccess);
    BeginAll();
    // Overlaps.
    EXPECT_EQ(replacement.MoveHere(range_ + kPage), Errno(EINVAL));
  }
  ExpectAllHaveWritten();
  EXPECT_EQ(UnmapShared(copy_, kPages * kPage), kSuccess);
}

TEST_P(LiveReplaceKinds, APartLeavesTheRestAlone) {
  MakeWriters();
  Writer before(range_ + kPage + 8), after(range_ + 4 * kPage + 8), within(range_ + 2 * kPage + 8);
  {
    LiveReplacement replacement(range_ + 2 * kPage, 2 * kPage);
    ASSERT_EQ(replacement.StopWriters(), kSuccess);
    before.Begin();
    after.Begin();
    within.Begin();
    EXPECT_TRUE(before.Finish());
    EXPECT_TRUE(after.Finish());
    EXPECT_FALSE(within.IsDone());
    CopyWords(copy_ + kPage, range_ + 2 * kPage, 2 * kPage);
    EXPECT_EQ(replacement.MoveHere(copy_ + kPage), kSuccess);
  }
  EXPECT_TRUE(within.Finish());
  EXPECT_EQ(at(2).load(), 102u);
  EXPECT_EQ(Word(range_ + 2 * kPage + 8).load(), 1u);
  // What is left of it; another thread may have mapped something in between by now.
  EXPECT_EQ(UnmapShared(copy_, kPage), kSuccess);
  EXPECT_EQ(UnmapShared(copy_ + 3 * kPage, (kPages - 3) * kPage), kSuccess);
}

TEST_P(LiveReplaceKinds, SeveralMappingsAreReplacedByOne) {
  // In the midst of the range, one of the other kind and one that is not inherited.
  const Kind other = std::get<0>(GetParam()) == Kind::kPrivate ? Kind::kShared : Kind::kPrivate;
  ASSERT_EQ(Move(NewMemory(other, 1), kPage, range_ + kPage), kSuccess);
  ASSERT_EQ(SetInherited(range_ + 4 * kPage, kPage, false), kSuccess);
  for (const size_t page : {1u, 2u, 4u, 5u}) OlderKernel::MappingsMeetAt(range_ + page * kPage);
  at(1).store(101);
  MakeWriters();
  {
    LiveReplacement replacement(range_, kPages * kPage);
    ASSERT_EQ(replacement.StopWriters(), kSuccess);
    EXPECT_EQ(ProtectedPages(range_, kPages), kPages);
    BeginAll();
    CopyWords(copy_, range_, kPages * kPage);
    for (size_t page = 0; page < 3; ++page) EXPECT_EQ(Word(copy_ + page * kPage), 100 + page);
    EXPECT_EQ(replacement.MoveHere(copy_), kSuccess);
  }
  ExpectAllHaveWritten();
}

TEST_P(LiveReplaceKinds, AForkedChildKeepsNobodyWaiting) {
  MakeWriters();
  pid_t child = -1;
  {
    LiveReplacement replacement(range_, kPages * kPage);
    ASSERT_EQ(replacement.StopWriters(), kSuccess);
    BeginAll();
    // It has all descriptors too, until it ends.
    child = static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
    if (child == 0) {
      (void)alarm(60);
      for (;;) (void)pause();
    }
    ASSERT_GT(child, 0);
    const bool moves = std::get<1>(GetParam()) == Kind::kShared;
    CopyWords(copy_, range_, kPages * kPage);
    EXPECT_EQ(moves ? replacement.MoveHere(copy_) : UnmapShared(copy_, kPages * kPage), kSuccess);
  }
  ExpectAllHaveWritten();
  EXPECT_EQ(ProtectedPages(range_, kPages), 0u);
  const Writer other([] {});
  EXPECT_EQ(LiveReplacement(range_, kPages * kPage).StopWriters(), kSuccess);
  ASSERT_EQ(kill(child, SIGKILL), 0);
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
}

TEST_P(LiveReplaceKinds, AForkedChildCanWriteToTheOldMemory) {
  const Writer other([] {});
  LiveReplacement replacement(range_, kPages * kPage);
  ASSERT_EQ(replacement.StopWriters(), kSuccess);
  RunInChild([&] {
    for (size_t page = 0; page < kPages; ++page) at(page).fetch_add(1);
    EXPECT_EQ(at(0).load(), 101u);
    EXPECT_EQ(at(5).load(), 1u);
  });
  EXPECT_EQ(at(0).load(), std::get<0>(GetParam()) == Kind::kPrivate ? 100u : 101u);
  CopyWords(copy_, range_, kPages * kPage);
  EXPECT_EQ(replacement.MoveHere(copy_), kSuccess);
}

// --- Writers of other kinds

class LiveReplaceWriters : public LiveReplaceTest {
 protected:
  static constexpr size_t kPages = 2;
  std::byte* const range_ = NewMemory(Kind::kPrivate, kPages);
  std::byte* const copy_ = NewMemory(Kind::kShared, kPages);
  ~LiveReplaceWriters() override {
    if (IsSkipped()) return;
    EXPECT_EQ(UnmapShared(range_, kPages * kPage), kSuccess);
  }
};

TEST_F(LiveReplaceWriters, ASystemCallWaitsOrFails) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const uint64_t word = 17;
  ASSERT_EQ(write(ends[1], &word, sizeof(word)), static_cast<ssize_t>(sizeof(word)));
  std::atomic<ssize_t> length{0};
  std::atomic<int> error{0};
  Writer writer([&] {
    length = syscall(SYS_read, ends[0], range_ + kPage, sizeof(word));
    error = length < 0 ? errno : 0;
  });
  {
    LiveReplacement replacement(range_, kPages * kPage);
    ASSERT_EQ(replacement.StopWriters(), kSuccess);
    writer.Begin();
    EXPECT_EQ(Word(range_ + kPage).load(), 0u);
    CopyWords(copy_, range_, kPages * kPage);
    EXPECT_EQ(replacement.MoveHere(copy_), kSuccess);
  }
  ASSERT_TRUE(writer.Finish());
  if (length < 0) {
    EXPECT_EQ(Errno(error), Errno(EFAULT));
    EXPECT_EQ(Word(range_ + kPage).load(), 0u);
  } else {
    EXPECT_EQ(length, static_cast<ssize_t>(sizeof(word)));
    EXPECT_EQ(Word(range_ + kPage).load(), word);
  }
  for (const int end : ends) (void)close(end);
}

// Root may do more.
TEST_F(LiveReplaceWriters, WaitWithoutPrivilege) {
  RunInChild({.drop_privilege = true}, [this] {
    Writer writer(range_);
    {
      LiveReplacement replacement(range_, kPages * kPage);
      ASSERT_EQ(replacement.StopWriters(), kSuccess);
      writer.Begin();
      EXPECT_FALSE(writer.IsDone());
      CopyWords(copy_, range_, kPages * kPage);
      EXPECT_EQ(replacement.MoveHere(copy_), kSuccess);
    }
    EXPECT_TRUE(writer.Finish());
    EXPECT_EQ(Word(range_).load(), 1u);
  });
}

std::byte* written_by_signal = nullptr;

TEST_F(LiveReplaceWriters, ASignalOfTheThreadWaits) {
  written_by_signal = range_;
  struct sigaction action {
  }, before{};
  action.sa_handler = [](int) { Word(written_by_signal).store(1); };
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  const Writer other([] {});
  sigset_t mask;
  {
    LiveReplacement replacement(range_, kPages * kPage);
    ASSERT_EQ(replacement.StopWriters(), kSuccess);
    ASSERT_EQ(pthread_kill(pthread_self(), SIGUSR1), 0);
    CopyWords(copy_, range_, kPages * kPage);
    EXPECT_EQ(replacement.MoveHere(copy_), kSuccess);
    EXPECT_EQ(Word(range_).load(), 0u);
  }
  EXPECT_TRUE(WaitUntil([this] { return Word(range_).load() == 1; }));
  ASSERT_EQ(pthread_sigmask(SIG_SETMASK, nullptr, &mask), 0);
  EXPECT_EQ(sigismember(&mask, SIGUSR1), 0);
  ASSERT_EQ(sigaction(SIGUSR1, &before, nullptr), 0);
}

TEST_F(LiveReplaceTest, APartOfAHugePageIsReplaced) {
  constexpr size_t kHuge = size_t{2} << 20;
  const size_t pages = 2 * kHuge / kPage;
  std::byte* const memory = NewMemory(Kind::kPrivate, pages);
  const uintptr_t end = (reinterpret_cast<uintptr_t>(memory) / kHuge + 2) * kHuge;
  std::byte* const huge = memory + (end - kHuge - reinterpret_cast<uintptr_t>(memory));
  (void)madvise(memory, 2 * kHuge, MADV_HUGEPAGE);
  Word(huge).store(7);
  std::byte* const range = huge + kHuge / 4;
  const size_t bytes = kHuge / 4;
  Writer within(range + bytes / 2), outside(range + bytes);
  Word(range).store(8);
  std::byte* const copy = NewMemory(Kind::kShared, bytes / kPage);
  {
    LiveReplacement replacement(range, bytes);
    ASSERT_EQ(replacement.StopWriters(), kSuccess);
    EXPECT_EQ(ProtectedPages(range, bytes / kPage), bytes / kPage);
    within.Begin();
    outside.Begin();
    EXPECT_FALSE(within.IsDone());
    EXPECT_TRUE(outside.Finish());
    CopyWords(copy, range, bytes);
    EXPECT_EQ(replacement.MoveHere(copy), kSuccess);
  }
  EXPECT_TRUE(within.Finish());
  EXPECT_EQ(Word(huge).load(), 7u);
  EXPECT_EQ(Word(range).load(), 8u);
  EXPECT_EQ(Word(range + bytes / 2).load(), 1u);
  EXPECT_EQ(UnmapShared(memory, pages * kPage), kSuccess);
}

}  // namespace
}  // namespace os
