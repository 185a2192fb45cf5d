#include "os/death_words.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "os/death_words_fixture.h"

namespace os {
namespace {

// Whether the kernel can read the byte for this process.
bool IsReadable(const void* byte) {
  int ends[2];
  Must(pipe(ends) == 0);
  const bool readable = syscall(SYS_write, ends[1], byte, 1) == 1;
  (void)close(ends[0]);
  (void)close(ends[1]);
  return readable;
}

TEST(DeathWords, AreAliveByNumberAndMark) {
  const auto is_alive = [](uint32_t value) {
    return DeathWords::IsAlive(std::atomic<uint32_t>(value));
  };
  EXPECT_TRUE(is_alive(1));
  EXPECT_TRUE(is_alive(FUTEX_WAITERS | 4'000'000));
  EXPECT_FALSE(is_alive(0)) << "nobody's yet";
  EXPECT_FALSE(is_alive(FUTEX_WAITERS));
  EXPECT_FALSE(is_alive(FUTEX_OWNER_DIED | FUTEX_WAITERS)) << "as the kernel leaves it";
  EXPECT_FALSE(is_alive(FUTEX_OWNER_DIED | 1));
}

TEST(DeathWords, AreAliveFromAddOn) {
  const Object object;
  Child child([&](const Child& self) {
    DeathWords words;
    Must(words.Begin().ok() && self.Tell() && self.Hear());
    const Result<void*> page = words.Add(object.descriptor());
    Must(page.ok() && static_cast<std::atomic<uint32_t>*>(*page)->load() == object.word());
    Must(self.Tell());
    SleepForever();
  });
  ASSERT_TRUE(child.Hear());
  EXPECT_FALSE(object.IsAlive());
  ASSERT_TRUE(child.Tell() && child.Hear());
  EXPECT_TRUE(object.IsAlive());
  const auto thread = static_cast<uint32_t>(child.pid());
  EXPECT_EQ(object.word(), thread | FUTEX_WAITERS);
  (void)child.Kill();
  EXPECT_EQ(object.word(), FUTEX_OWNER_DIED | FUTEX_WAITERS);
}

TEST(DeathWords, CanBeAddedAgainAfterADeath) {
  const Object object;
  for (int round = 0; round < 3; ++round) {
    Child child([&](const Child& self) {
      DeathWords words;
      Must(words.Begin().ok() && words.Add(object.descriptor()).ok() && self.Tell());
      SleepForever();
    });
    ASSERT_TRUE(child.Hear());
    EXPECT_TRUE(object.IsAlive());
    (void)child.Kill();
    EXPECT_FALSE(object.IsAlive());
  }
}

TEST(DeathWords, ThatAreRemovedSayWhatTheySaidLast) {
  const std::array<Object, 7> objects;
  uint32_t said = 0;
  {
    Child child([&](const Child& self) {
      DeathWords words;
      Must(words.Begin().ok());
      std::array<void*, 6> pages;
      for (size_t i = 0; i < pages.size(); ++i) pages[i] = *words.Add(objects[i].descriptor());
      for (const size_t i : {3u, 0u, 5u, 2u}) {  // in the middle, at both ends, beside a gap
        Must(IsReadable(pages[i]));
        words.Remove(pages[i]);
        Must(!IsReadable(pages[i]));
      }
      objects[5].word() = 0;                                  // which is whoever's now
      Must(*words.Add(objects[6].descriptor()) == pages[0]);  // in a place that was in use
      Must(self.Tell());
      SleepForever();
    });
    ASSERT_TRUE(child.Hear());
    said = objects[1].word();
    for (const size_t i : {0u, 1u, 2u, 3u, 4u, 6u}) EXPECT_EQ(objects[i].word(), said) << i;
  }
  for (const size_t i : {0u, 2u, 3u}) EXPECT_EQ(objects[i].word(), said) << i;
  for (const size_t i : {1u, 4u, 6u}) EXPECT_FALSE(objects[i].IsAlive()) << i;
  EXPECT_EQ(objects[5].word(), 0u);
}

TEST(DeathWords, AreAsManyAsTheKernelFollows) {
  const Object first, other, last;
  Child child([&](const Child& self) {
    DeathWords words;
    Must(words.Begin().ok() && words.Add(first.descriptor()).ok());  // the last that it comes to
    for (size_t i = 1; i + 1 < DeathWords::kCountMax; ++i) Must(words.Add(other.descriptor()).ok());
    const Result<void*> page = words.Add(last.descriptor());
    Must(page.ok() && words.Add(other.descriptor()).error() == Errno(ENFILE));
    words.Remove(*page);
    Must(words.Add(last.descriptor()).ok() && self.Tell());
    SleepForever();
  });
  ASSERT_TRUE(child.Hear());
  (void)child.Kill();
  EXPECT_FALSE(first.IsAlive());
  EXPECT_FALSE(last.IsAlive());
}

// --- Forked children ----------------------------------------------------------------------------

TEST(DeathWords, AndTheirPagesAreNotInherited) {
  const std::array<Object, 3> objects;
  Child child([&](const Child&) {
    DeathWords words;
    Must(words.Begin().ok());
    std::array<void*, 3> pages;
    for (size_t i = 0; i < pages.size(); ++i) pages[i] = *words.Add(objects[i].descriptor());
    words.Remove(pages[1]);
    pages[1] = *words.Add(objects[1].descriptor());
    const auto grandchild = static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, nullptr, nullptr, 0, 0));
    if (grandchild == 0) {
      for (const void* page : pages) Must(!IsReadable(page));
      Exit(0);
    }
    for (const void* page : pages) Must(IsReadable(page));
    int status = -1;
    Must(waitpid(grandchild, &status, 0) == grandchild);
    Exit(WEXITSTATUS(status));
  });
  const int status = child.Wait();
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST(DeathWords, OfAForkedChildAreItsOwn) {
  const Object object, childs_object;
  Child child([&](const Child& self) {
    DeathWords words;
    Must(words.Begin().ok() && words.Add(object.descriptor()).ok());
    const pid_t grandchild = fork();
    if (grandchild == 0) {
      Must(words.Begin().ok() && words.Add(childs_object.descriptor()).ok());
      Must(self.Tell() && self.Hear());
      BeKilled();
    }
    Must(waitpid(grandchild, nullptr, 0) == grandchild && self.Tell());
    SleepForever();
  });
  ASSERT_TRUE(child.Hear());
  EXPECT_TRUE(object.IsAlive() && childs_object.IsAlive());
  ASSERT_TRUE(child.Tell() && child.Hear());
  EXPECT_TRUE(object.IsAlive());
  EXPECT_FALSE(childs_object.IsAlive());
  (void)child.Kill();
  EXPECT_FALSE(object.IsAlive());
}

// --- Who shares an object -----------------------------------------------------------------------

TEST(DeathWords, AreNoneTheWorseForAnotherThatIsSpoiled) {
  const Object first, spoiled, last;
  const auto scribble = [&](uint64_t pattern) {
    for (size_t at = 0; at < kPage; at += sizeof(pattern)) {
      std::memcpy(static_cast<std::byte*>(spoiled.page()) + at, &pattern, sizeof(pattern));
    }
  };
  for (const uint64_t pattern : {~uint64_t{0}, uint64_t{0}, uint64_t{0x7FFF'0000'1000},
                                 reinterpret_cast<uint64_t>(spoiled.page()) | 1}) {
    Child child([&](const Child& self) {
      DeathWords words;
      Must(words.Begin().ok());
      for (const Object* each : {&first, &spoiled, &last}) {
        Must(words.Add(each->descriptor()).ok());
      }
      Must(self.Tell());
      SleepForever();
    });
    ASSERT_TRUE(child.Hear());
    ASSERT_TRUE(first.IsAlive() && spoiled.IsAlive() && last.IsAlive());
    scribble(pattern);
    EXPECT_EQ(ftruncate(spoiled.descriptor(), 0), -1) << "this would end the list";
    if (pattern == 0) {
      EXPECT_EQ(fallocate(spoiled.descriptor(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                          static_cast<off_t>(kPage)),
                0);
    }
    (void)child.Kill();
    EXPECT_FALSE(first.IsAlive());
    EXPECT_FALSE(last.IsAlive());
    EXPECT_EQ(spoiled.word(), static_cast<uint32_t>(pattern))
        << "it is no word of the child any more";
  }
}

// Of what memfd_create(2) makes with these flags.
OwnedDescriptor NewFile(unsigned flags, size_t bytes, int seals) {
  OwnedDescriptor file(memfd_create("death_words", flags | MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (file.get() < 0 || ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) return {};
  EXPECT_EQ(fcntl(file.get(), F_ADD_SEALS, seals), 0);
  return file;
}

TEST(DeathWords, AreInNoObjectWhosePageMayGo) {
  const Object object;
  const OwnedDescriptor shrinks = NewFile(0, kPage, F_SEAL_GROW);
  const OwnedDescriptor is_empty = NewFile(0, 0, F_SEAL_SHRINK);
  const OwnedDescriptor may_not_be_written = NewFile(0, kPage, F_SEAL_SHRINK | F_SEAL_WRITE);
  const OwnedDescriptor huge = NewFile(MFD_HUGETLB, size_t{1} << 30, F_SEAL_SHRINK);
  const std::string again = "/proc/self/fd/" + std::to_string(object.descriptor());
  const Result<OwnedDescriptor> for_reading = OpenForReading(again);
  const Result<OwnedDescriptor> no_memory_object = OpenForReading("/proc/self/exe");
  ASSERT_TRUE(for_reading.ok() && no_memory_object.ok());
  Child child([&](const Child&) {
    DeathWords words;
    Must(words.Begin().ok());
    Must(words.Add(shrinks.get()).error() == Errno(EINVAL));
    Must(words.Add(is_empty.get()).error() == Errno(EINVAL));
    Must(words.Add(no_memory_object->get()).error() == Errno(EINVAL));
    Must(huge.get() < 0 || words.Add(huge.get()).error() == Errno(EINVAL));
    Must(words.Add(may_not_be_written.get()).error() == Errno(EPERM));
    Must(words.Add(for_reading->get()).error() == Errno(EACCES));
    Must(words.Add(-1).error() == Errno(EBADF));
    Must(words.Add(object.descriptor()).ok());
    BeKilled();
  });
  const int status = child.Wait();
  EXPECT_TRUE(WIFSIGNALED(status)) << status;
  EXPECT_EQ(object.word(), FUTEX_OWNER_DIED | FUTEX_WAITERS);
}

// --- At every instruction -----------------------------------------------------------------------

// Killed wherever it is, within Add and Remove too.
TEST(DeathWords, AreToldOfADeathAtAnyMoment) {
  const std::array<Object, 4> objects;
  struct Progress {
    std::atomic<int> rounds{0};
    std::array<std::atomic<int>, 4> added{};  // surely
  };
  void* const memory =
      mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  for (int round = 0; round < 100; ++round) {
    Progress& progress = *new (memory) Progress();
    Child child([&](const Child&) {
      DeathWords words;
      Must(words.Begin().ok());
      std::array<void*, 4> pages;
      const auto add = [&](size_t i) {
        pages[i] = *words.Add(objects[i].descriptor());
        progress.added[i] = 1;
      };
      const auto remove = [&](size_t i) {
        progress.added[i] = 0;
        words.Remove(pages[i]);
      };
      for (size_t i = 0; i < 4; ++i) add(i);
      for (;; ++progress.rounds) {
        remove(2);
        remove(3);
        add(3);
        remove(1);
        add(1);
        add(2);
      }
    });
    while (progress.rounds < 1 + round % 20) std::this_thread::yield();
    (void)child.Kill();
    EXPECT_EQ(progress.added[0], 1);
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_TRUE(progress.added[i] == 0 || !objects[i].IsAlive()) << i;
    }
  }
  ASSERT_EQ(munmap(memory, sizeof(Progress)), 0);
}

// What the kernel would find if the traced process ended now: what lies behind each word. -1: it
// would stop there.
std::vector<int> ListOf(pid_t traced) {
  const auto peek = [traced](uintptr_t address) {
    errno = 0;
    return static_cast<uintptr_t>(ptrace(PTRACE_PEEKDATA, traced, address, nullptr));
  };
  uintptr_t head = 0;
  size_t bytes = 0;
  if (syscall(SYS_get_robust_list, traced, &head, &bytes) != 0) return {-1};
  const uintptr_t offset = peek(head + sizeof(uintptr_t));
  std::vector<int> found;
  for (uintptr_t link = peek(head); link != head && found.size() < 10; link = peek(link)) {
    const int behind = static_cast<int>(peek(link + offset + 4));
    found.push_back(errno == 0 ? behind : -1);
  }
  return found;
}

TEST(DeathWords, AreAListThatMakesSenseAfterEveryInstruction) {
  const std::array<Object, 4> objects;
  for (int i = 0; i < 4; ++i) {
    std::memcpy(static_cast<std::byte*>(objects[static_cast<size_t>(i)].page()) + 4, &i, sizeof(i));
  }
  Child child([&](const Child&) {
    DeathWords words;
    Must(words.Begin().ok());
    std::array<void*, 3> pages;
    for (size_t i = 0; i < pages.size(); ++i) pages[i] = *words.Add(objects[i].descriptor());
    Must(ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0 && raise(SIGSTOP) == 0);
    words.Remove(pages[1]);
    Must(words.Add(objects[3].descriptor()).ok());
    words.Remove(pages[0]);
    Must(raise(SIGSTOP) == 0);
    SleepForever();
  });
  int status = -1;
  ASSERT_EQ(waitpid(child.pid(), &status, 0), child.pid());
  if (!WIFSTOPPED(status)) GTEST_SKIP() << "no ptrace(2) here: " << status;
  std::vector<std::vector<int>> lists;
  do {
    const std::vector<int> list = ListOf(child.pid());
    if (lists.empty() || list != lists.back()) lists.push_back(list);
    ASSERT_TRUE(!objects[3].IsAlive() || list[0] == 3) << "it is alive, and would not be told";
    ASSERT_EQ(ptrace(PTRACE_SINGLESTEP, child.pid(), nullptr, nullptr), 0);
    ASSERT_EQ(waitpid(child.pid(), &status, 0), child.pid());
    ASSERT_TRUE(WIFSTOPPED(status));
  } while (WSTOPSIG(status) != SIGSTOP);
  const std::vector<std::vector<int>> expected = {{2, 1, 0}, {2, 0}, {3, 2, 0}, {3, 2}};
  EXPECT_EQ(lists, expected);
  EXPECT_TRUE(objects[3].IsAlive());
}

}  // namespace
}  // namespace os
