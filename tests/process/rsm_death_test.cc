// Exporters and importers that die, at the entry of every system call that they make, and in ways that
// are easily mistaken for going on: what the other side sees, and what is left behind.

#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "rsm/rsmapi.h"
#include "tests/support/child.h"
#include "tests/support/other_process.h"
#include "tests/support/rsm_folder.h"
#include "tests/support/rsm_setting.h"
#include "tests/support/sanitizer.h"
#include "tests/support/syscall_plan.h"
#include "tests/support/tagged_memory.h"
#include "tests/support/test_segment.h"

namespace {

using test_support::Connect;
using test_support::CountDescriptors;
using test_support::Create;
using test_support::Eventually;
using test_support::FailsWith;
using test_support::ImportersOf;
using test_support::kSegment;
using test_support::Line;
using test_support::OtherProcess;
using test_support::PlannedCall;
using test_support::Publish;
using test_support::RsmFolder;
using test_support::RunInChild;
using test_support::SharedValue;
using test_support::Succeeds;
using test_support::SyscallPlan;
using test_support::SyscallWindow;
using test_support::TaggedMemory;

constexpr size_t kPages = 2;
constexpr uint32_t kFirstTag = 7,
                   kSecondTag = 8;  // of what is exported, and of what it is rebound to
constexpr int kPatience_ms = 50'000;
constexpr bool kSanitizer = test_support::kAddressSanitizer || test_support::kThreadSanitizer;

// System calls that change something that is there when the process has gone, or that take something
// apart. Who dies at another one dies as one that has died at the one before.
std::vector<PlannedCall> CallsToDieAt() {
  std::vector<PlannedCall> calls = {
      {SYS_close, "close", 0}, {SYS_munmap, "munmap", 0}, {SYS_futex, "futex", 0}};
  for (const PlannedCall& call : test_support::RsmSystemCalls()) {
    const bool only_looks = call.number == SYS_read || call.number == SYS_fstat ||
                            call.number == SYS_newfstatat || call.number == SYS_getdents64;
    if (!only_looks) calls.push_back(call);
  }
  return calls;
}

void ExpectAborted(int code) { EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, code)); }
// Of a call while the exporter may die.
bool IsDoneOrAborted(int code) {
  if (code == RSM_SUCCESS) return true;
  ExpectAborted(code);
  return false;
}

void Sleep() { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }

// Publishes the number and imports it, as if nobody had done so before, and leaves nothing.
void ExpectFree(const RsmFolder& folder) {
  RunInChild([] {
    TaggedMemory memory(1, 1);
    rsm_memseg_export_handle_t segment = nullptr;
    rsm_memseg_import_handle_t import = nullptr;
    ASSERT_TRUE(Succeeds(Create(segment, memory.address(), memory.bytes())));
    ASSERT_TRUE(Succeeds(Publish(segment)));
    ASSERT_TRUE(Succeeds(Connect(import)));
    uint64_t word = 0;
    EXPECT_TRUE(Succeeds(rsm_memseg_import_get64(import, 0, &word, 1)));
    EXPECT_EQ(word, memory.words()[0]);
    EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(segment)));
  });
  EXPECT_EQ(folder.CountNames(), 0u);
}

// --- The exporter is killed at a system call -------------------------------------------------------

void ExportUntilKilled(SyscallWindow& window) {
  TaggedMemory first(kPages, kFirstTag), second(kPages, kSecondTag);
  (void)test_support::RsmController();
  rsm_memseg_export_handle_t segment = nullptr;
  window.Open();
  ASSERT_TRUE(Succeeds(Create(segment, first.address(), first.bytes())));
  ASSERT_TRUE(Succeeds(Publish(segment)));
  // The importer has come, and has used it.
  ASSERT_TRUE(Succeeds(rsm_intr_signal_wait(segment, kPatience_ms)));
  ASSERT_TRUE(Succeeds(rsm_memseg_export_rebind(segment, second.address(), 0, second.bytes())));
  ASSERT_TRUE(Succeeds(rsm_intr_signal_post(segment, 0)));
  ASSERT_TRUE(Succeeds(rsm_intr_signal_wait(segment, kPatience_ms)));
  ASSERT_TRUE(Succeeds(rsm_memseg_export_unpublish(segment)));
  ASSERT_TRUE(Succeeds(rsm_memseg_export_destroy(segment)));
  window.Close();
  EXPECT_TRUE(first.IsIntact() && second.IsIntact());
}

// The handle; null: the exporter has ended before it published anything.
rsm_memseg_import_handle_t ConnectInTime(const SyscallWindow& window) {
  rsm_memseg_import_handle_t import = nullptr;
  while (!window.has_ended()) {
    const int code = Connect(import);
    if (code == RSM_SUCCESS) return import;
    if (code != RSMERR_SEG_NOT_PUBLISHED) ExpectAborted(code);
    Sleep();
  }
  return nullptr;
}

// The words are those of the one memory or of the other, whatever the exporter was doing.
void ExpectWhole(const uint64_t* words) {
  const bool is_second = words[0] >> 32 == kSecondTag;
  EXPECT_TRUE(TaggedMemory::Holds(words, kPages, is_second ? kSecondTag : kFirstTag));
}

// As long as the exporter lives.
void UseSegment(rsm_memseg_import_handle_t import, uint64_t* map) {
  std::vector<uint64_t> words(kPages * TaggedMemory::WordsOfPage());
  const size_t bytes = words.size() * sizeof(uint64_t);
  uint64_t mark = 42;
  constexpr off_t kFree = TaggedMemory::kFreeWord * sizeof(uint64_t);
  if (!IsDoneOrAborted(rsm_memseg_import_get(import, 0, words.data(), bytes))) return;
  ExpectWhole(words.data());
  if (!IsDoneOrAborted(rsm_memseg_import_put64(import, kFree, &mark, 1))) return;
  EXPECT_EQ(map[TaggedMemory::kFreeWord], mark);
  if (!IsDoneOrAborted(rsm_intr_signal_post(import, 0))) return;
  if (!IsDoneOrAborted(rsm_intr_signal_wait(import, kPatience_ms))) return;
  EXPECT_TRUE(TaggedMemory::Holds(map, kPages, kSecondTag)) << "it has been rebound";
  if (!IsDoneOrAborted(rsm_intr_signal_post(import, 0))) return;
  ExpectAborted(rsm_intr_signal_wait(import, kPatience_ms));
}

// Afterwards: its own mapping is memory as other memory is.
void ExpectOrphaned(rsm_memseg_import_handle_t import, uint64_t* map) {
  uint64_t word = 0;
  ExpectWhole(map);
  ExpectAborted(rsm_memseg_import_get64(import, 0, &word, 1));
  EXPECT_EQ(word, map[0]);
  word = 43;
  ExpectAborted(rsm_memseg_import_put64(import, 0, &word, 1));
  EXPECT_EQ(map[0], 43u);
  for (size_t page = 0; page < kPages; ++page) map[page * TaggedMemory::WordsOfPage()] = 44;
  ExpectAborted(rsm_memseg_import_get64(import, 0, &word, 1));
  EXPECT_EQ(word, 44u);
  ExpectAborted(rsm_intr_signal_post(import, 0));
  ExpectAborted(rsm_intr_signal_wait(import, kPatience_ms));
}

void ImportUntilTheEnd(SyscallWindow& window) {
  const size_t descriptors = CountDescriptors();
  const rsm_memseg_import_handle_t import = ConnectInTime(window);
  if (import != nullptr) {
    void* map = nullptr;
    const size_t bytes = kPages * TaggedMemory::WordsOfPage() * sizeof(uint64_t);
    if (IsDoneOrAborted(
            rsm_memseg_import_map(import, &map, RSM_MAP_NONE, RSM_PERM_RDWR, 0, bytes))) {
      UseSegment(import, static_cast<uint64_t*>(map));
      ExpectOrphaned(import, static_cast<uint64_t*>(map));
      EXPECT_TRUE(Succeeds(rsm_memseg_import_unmap(import)));
    }
    EXPECT_TRUE(Succeeds(rsm_memseg_import_disconnect(import)));
  }
  EXPECT_EQ(CountDescriptors(), descriptors);
  while (!window.has_ended()) Sleep();
  rsm_memseg_import_handle_t none = nullptr;
  EXPECT_TRUE(FailsWith(RSMERR_SEG_NOT_PUBLISHED, Connect(none)));
}

TEST(RsmDeath, OfAnExporterAtEachSystemCallIsAnAbortedConnection) {
  const RsmFolder folder;
  const std::vector<PlannedCall> calls = CallsToDieAt();
  int runs = 0;
  test_support::ForEachSyscall({
      .calls = calls,
      .act = SyscallPlan::Act::kKill,
      .subject = ExportUntilKilled,
      .companion = ImportUntilTheEnd,
      .after =
          [&] {
            ExpectFree(folder);
            ++runs;
          },
      .stride = kSanitizer ? 7u : 1u,
  });
  if (IsSkipped()) return;
  EXPECT_GT(runs, kSanitizer ? 10 : 70) << "it makes more calls than that";
}

// --- The importer is killed at a system call -------------------------------------------------------

void ImportUntilKilled(SyscallWindow& window, const std::atomic<bool>& is_published) {
  (void)test_support::RsmController();
  while (!is_published.load()) Sleep();
  rsm_memseg_import_handle_t import = nullptr;
  void* map = nullptr;
  uint64_t word = 45;
  const size_t bytes = kPages * TaggedMemory::WordsOfPage() * sizeof(uint64_t);
  constexpr off_t kFree = TaggedMemory::kFreeWord * sizeof(uint64_t);
  window.Open();
  ASSERT_TRUE(Succeeds(Connect(import)));
  ASSERT_TRUE(Succeeds(rsm_memseg_import_map(import, &map, RSM_MAP_NONE, RSM_PERM_RDWR, 0, bytes)));
  ASSERT_TRUE(Succeeds(rsm_memseg_import_put64(import, kFree, &word, 1)));
  ASSERT_TRUE(Succeeds(rsm_intr_signal_post(import, 0)));
  ASSERT_TRUE(FailsWith(RSMERR_TIMEOUT, rsm_intr_signal_wait(import, 0)));
  ASSERT_TRUE(Succeeds(rsm_memseg_import_unmap(import)));
  ASSERT_TRUE(Succeeds(rsm_memseg_import_disconnect(import)));
  window.Close();
}

// Serves the one that is killed, and another one, as if nothing had happened.
void ExportThroughout(const SyscallWindow& window, std::atomic<bool>& is_published) {
  TaggedMemory memory(kPages, kFirstTag);
  rsm_memseg_export_handle_t segment = nullptr;
  rsm_memseg_import_handle_t import = nullptr;
  ASSERT_TRUE(Succeeds(Create(segment, memory.address(), memory.bytes())));
  ASSERT_TRUE(Succeeds(Publish(segment)));
  ASSERT_TRUE(Succeeds(Connect(import)));
  test_support::AwaitIdleThreads();
  const size_t descriptors = CountDescriptors();
  is_published.store(true);
  uint64_t gets = 0, word = 0;
  while (!window.has_ended()) {
    ASSERT_TRUE(Succeeds(rsm_memseg_import_get64(import, 0, &word, 1)));
    ++gets;
    Sleep();
  }
  EXPECT_GT(gets, 0u);
  EXPECT_TRUE(Eventually([] { return ImportersOf() == 1; })) << ImportersOf();
  EXPECT_TRUE(Eventually([&] { return CountDescriptors() == descriptors; })) << CountDescriptors();
  EXPECT_TRUE(memory.IsIntact());
  EXPECT_TRUE(Succeeds(rsm_memseg_import_disconnect(import)));
  EXPECT_TRUE(Eventually([] { return ImportersOf() == 0; })) << ImportersOf();
  EXPECT_TRUE(Succeeds(Connect(import)));
  EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(segment)));
}

TEST(RsmDeath, OfAnImporterAtEachSystemCallIsNothingToItsExporter) {
  const RsmFolder folder;
  const std::vector<PlannedCall> calls = CallsToDieAt();
  const SharedValue<std::atomic<bool>> is_published;
  test_support::ForEachSyscall({
      .calls = calls,
      .act = SyscallPlan::Act::kKill,
      .subject = [&](SyscallWindow& window) { ImportUntilKilled(window, *is_published); },
      .companion = [&](SyscallWindow& window) { ExportThroughout(window, *is_published); },
      .after =
          [&] {
            is_published->store(false);
            EXPECT_EQ(folder.CountNames(), 0u);
          },
      .stride = kSanitizer ? 3u : 1u,
  });
}

// --- Deaths that look like life --------------------------------------------------------------------

// Publishes, says so, and does the rest when it is told.
void ExportAnd(const Line& line, const std::function<void()>& rest) {
  TaggedMemory memory(kPages, kFirstTag);
  rsm_memseg_export_handle_t segment = nullptr;
  ASSERT_TRUE(Succeeds(Create(segment, memory.address(), memory.bytes())));
  ASSERT_TRUE(Succeeds(Publish(segment)));
  line.Say(1);
  if (line.Hear() == Line::kNothing) return;
  rest();
}

// Says so when it is about to wait for a signal with some threads, and then with what each of them ends.
void WaitForSignals(const Line& line, size_t threads) {
  rsm_memseg_import_handle_t import = nullptr;
  ASSERT_TRUE(Succeeds(Connect(import)));
  std::vector<int> codes(threads, -1);
  std::vector<std::thread> waiting;
  std::atomic<size_t> begun = 0;
  for (int& code : codes) {
    waiting.emplace_back([&] {
      ++begun;
      code = rsm_intr_signal_wait(import, kPatience_ms);
    });
  }
  while (begun < threads) Sleep();
  test_support::AwaitIdleThreads();
  line.Say(2);
  for (std::thread& thread : waiting) thread.join();
  for (const int code : codes) line.Say(static_cast<uint64_t>(code));
}

void ExpectAllAborted(const OtherProcess& waiter, size_t threads) {
  for (size_t i = 0; i < threads; ++i) {
    EXPECT_EQ(waiter.Hear(), uint64_t{RSMERR_CONN_ABORTED}) << "thread " << i;
  }
}

constexpr size_t kWaiters = 3;

// A child that neither does anything nor ends, made by fork(3) or by clone(2) past the C library.
pid_t MakeIdleChild(bool is_raw) {
  const pid_t child = is_raw ? static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)) : fork();
  if (child == 0) {
    syscall(SYS_prctl, 1 /* PR_SET_PDEATHSIG */, 0);
    for (;;) syscall(SYS_ppoll, nullptr, 0, nullptr, nullptr, 0);
  }
  return child;
}

class RsmDeathWithAChild : public testing::TestWithParam<bool> {};

TEST_P(RsmDeathWithAChild, IsNoticedByWaiters) {
  const RsmFolder folder;
  OtherProcess exporter([](const Line& line) {
    ExportAnd(line, [&] {
      line.Say(static_cast<uint64_t>(MakeIdleChild(GetParam())));
      (void)line.Hear();
    });
  });
  ASSERT_EQ(exporter.Hear(), 1u);
  const OtherProcess waiter([](const Line& line) { WaitForSignals(line, kWaiters); });
  ASSERT_EQ(waiter.Hear(), 2u);
  exporter.Say(1);
  const auto child = static_cast<pid_t>(exporter.Hear());
  ASSERT_GT(child, 0);
  exporter.Kill();
  ExpectAllAborted(waiter, kWaiters);
  EXPECT_EQ(kill(child, 0), 0) << "the child lives";
  // A child that rsm does not know of keeps the socket.
  if (!GetParam()) ExpectFree(folder);
  EXPECT_EQ(kill(child, SIGKILL), 0);
  EXPECT_TRUE(Eventually([&] {
    rsm_memseg_import_handle_t none = nullptr;
    return Connect(none) == RSMERR_SEG_NOT_PUBLISHED;
  }));
  ExpectFree(folder);
}

INSTANTIATE_TEST_SUITE_P(RsmDeath, RsmDeathWithAChild, testing::Bool(),
                         [](const testing::TestParamInfo<bool>& test) {
                           return test.param ? "OfClone2" : "OfFork3";
                         });

[[noreturn]] void Execute() {
  execl("/bin/sleep", "sleep", "100", nullptr);
  _exit(127);
}

TEST(RsmDeath, ByExecveIsNoticedByWaiters) {
  const RsmFolder folder;
  for (const bool is_by_other_thread : {false, true}) {
    OtherProcess exporter([&](const Line& line) {
      ExportAnd(line, [&] {
        if (!is_by_other_thread) Execute();
        std::thread(Execute).join();
      });
    });
    ASSERT_EQ(exporter.Hear(), 1u);
    const OtherProcess waiter([](const Line& line) { WaitForSignals(line, kWaiters); });
    ASSERT_EQ(waiter.Hear(), 2u);
    exporter.Say(1);
    ExpectAllAborted(waiter, kWaiters);
    EXPECT_EQ(kill(exporter.pid(), 0), 0) << "the process lives";
    ExpectFree(folder);
    exporter.Kill();
  }
}

// The connection is the parent's: a child of the importer keeps neither it nor the exporter's count.
TEST(RsmDeath, OfAnImporterIsNoticedWhileAChildOfItLives) {
  const RsmFolder folder;
  OtherProcess importer([](const Line& line) {
    if (line.Hear() == Line::kNothing) return;
    rsm_memseg_import_handle_t import = nullptr;
    ASSERT_TRUE(Succeeds(Connect(import)));
    line.Say(static_cast<uint64_t>(MakeIdleChild(false)));
    (void)line.Hear();
  });
  RunInChild([&] {
    TaggedMemory memory(kPages, kFirstTag);
    rsm_memseg_export_handle_t segment = nullptr;
    ASSERT_TRUE(Succeeds(Create(segment, memory.address(), memory.bytes())));
    ASSERT_TRUE(Succeeds(Publish(segment)));
    importer.Say(1);
    const auto child = static_cast<pid_t>(importer.Hear());
    ASSERT_GT(child, 0);
    EXPECT_EQ(ImportersOf(), 1);
    EXPECT_EQ(kill(importer.pid(), SIGKILL), 0);
    EXPECT_TRUE(Eventually([] { return ImportersOf() == 0; })) << ImportersOf();
    EXPECT_EQ(kill(child, SIGKILL), 0);
    EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(segment)));
  });
  importer.Kill();
}

// SIGKILL ends a stopped process as well, and whoever waits for its answer hears of it.
TEST(RsmDeath, OfAStoppedExporterIsNoticedByWhoConnects) {
  const RsmFolder folder;
  OtherProcess exporter([](const Line& line) { ExportAnd(line, [] {}); });
  ASSERT_EQ(exporter.Hear(), 1u);
  exporter.Stop();
  const OtherProcess importer([](const Line& line) {
    rsm_memseg_import_handle_t none = nullptr;
    line.Say(1);
    line.Say(static_cast<uint64_t>(Connect(none)));
  });
  ASSERT_EQ(importer.Hear(), 1u);
  EXPECT_TRUE(Eventually([&] {
    std::ifstream status("/proc/" + std::to_string(importer.pid()) + "/stat");
    std::string text;
    std::getline(status, text);
    return text.find(") S ") != text.npos;
  }));
  exporter.Kill();
  const uint64_t code = importer.Hear();
  EXPECT_TRUE(code == RSMERR_CONN_ABORTED || code == RSMERR_SEG_NOT_PUBLISHED) << code;
  ExpectFree(folder);
}

}  // namespace
