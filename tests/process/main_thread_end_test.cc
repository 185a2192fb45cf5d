// Processes whose main thread has ended before the others, as by pthread_exit(3): there is nothing at
// /proc/self then, but all goes on.

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "pinlock/mpin.h"
#include "rsm/rsmapi.h"
#include "tests/support/other_process.h"
#include "tests/support/rsm_folder.h"
#include "tests/support/rsm_setting.h"
#include "tests/support/shared_memory.h"
#include "tests/support/tagged_memory.h"
#include "tests/support/test_mapping.h"
#include "tests/support/test_segment.h"

namespace {

using test_support::Connect;
using test_support::Create;
using test_support::Eventually;
using test_support::FailsWith;
using test_support::Line;
using test_support::OtherProcess;
using test_support::PageSize;
using test_support::Publish;
using test_support::RsmFolder;
using test_support::SkipUnlessWritersCanBeStopped;
using test_support::Succeeds;
using test_support::SysVSegment;
using test_support::TaggedMemory;
using test_support::TestMapping;

constexpr size_t kPages = 2;

// Of a thread by its number; 'Z': it has ended, and the process has not.
char StateOf(pid_t thread) {
  std::ifstream status("/proc/" + std::to_string(thread) + "/stat");
  std::string text;
  std::getline(status, text);
  const size_t name_end = text.rfind(')');
  return name_end + 2 < text.size() ? text[name_end + 2] : '?';
}

// In a child: `before` in its main thread, and `after` in another one when that has ended. It must be done
// within the time that children have.
void RunWithoutMainThread(const std::function<void()>& before, const std::function<void()>& after) {
  const OtherProcess process([&](const Line& line) {
    before();
    // Ends the process, as nobody else is there to do it.
    std::thread([&] {
      EXPECT_TRUE(Eventually([] { return StateOf(getpid()) == 'Z'; }));
      EXPECT_LE(std::ifstream("/proc/self/maps").peek(), 0) << "it is there: this tests nothing";
      after();
      line.Say(1);
      (void)std::fflush(nullptr);
      syscall(SYS_exit_group, testing::Test::HasFailure() ? 1 : 0);
    }).detach();
    // Nothing is unwound, as all that is on this stack is still used.
    for (;;) syscall(SYS_exit, 0);
  });
  EXPECT_EQ(process.Hear(), 1u);
}

void ExpectPins(const TestMapping& mapping, uint64_t count) {
  mpin_info info = {};
  EXPECT_EQ(mpin_query(mapping.page(0), kPages * PageSize(), &info), 0) << mpin_error();
  EXPECT_EQ(info.count_min, count);
  EXPECT_EQ(info.count_max, count);
}

TEST(MainThreadEnd, LeavesMpinAtWork) {
  const TestMapping first(kPages), second(kPages);
  RunWithoutMainThread(
      [&] { ASSERT_EQ(mpin(first.page(0), kPages * PageSize()), 0) << mpin_error(); },
      [&] {
        EXPECT_EQ(mpin(second.page(0), kPages * PageSize()), 0) << mpin_error();
        EXPECT_EQ(mpin(first.page(0), kPages * PageSize()), 0) << mpin_error();
        ExpectPins(first, 2);
        ExpectPins(second, 1);
        EXPECT_EQ(munpin(first.page(0), kPages * PageSize()), 0) << mpin_error();
        EXPECT_EQ(munpin(first.page(0), kPages * PageSize()), 0) << mpin_error();
        EXPECT_EQ(munpin(second.page(0), kPages * PageSize()), 0) << mpin_error();
        EXPECT_EQ(munpin(second.page(0), kPages * PageSize()), -1) << "nothing is pinned any more";
        ExpectPins(first, 0);
        ExpectPins(second, 0);
      });
}

// Exports, imports and signals, all of it new.
void UseNewSegment(void* address, uint_t flags) {
  rsm_memseg_export_handle_t segment = nullptr;
  rsm_memseg_import_handle_t import = nullptr;
  auto* const words = static_cast<uint64_t*>(address);
  uint64_t word = 0;
  ASSERT_TRUE(Succeeds(Create(segment, address, kPages * PageSize(), flags)));
  ASSERT_TRUE(Succeeds(Publish(segment)));
  ASSERT_TRUE(Succeeds(Connect(import)));
  const auto* const map =
      static_cast<uint64_t*>(test_support::Map(import, kPages * PageSize(), RSM_PERM_RDWR));
  ASSERT_NE(map, nullptr) << rsm_error();
  words[0] = 17;
  EXPECT_EQ(map[0], 17u);
  EXPECT_TRUE(Succeeds(rsm_memseg_import_get64(import, 0, &word, 1)));
  EXPECT_EQ(word, 17u);
  word = 18;
  EXPECT_TRUE(Succeeds(rsm_memseg_import_put64(import, 0, &word, 1)));
  EXPECT_EQ(words[0], 18u);
  EXPECT_TRUE(Succeeds(rsm_intr_signal_post(import, 0)));
  EXPECT_TRUE(Succeeds(rsm_intr_signal_wait(segment, 0)));
  EXPECT_TRUE(Succeeds(rsm_intr_signal_post(segment, 0)));
  EXPECT_TRUE(Succeeds(rsm_intr_signal_wait(import, 0)));
  EXPECT_TRUE(Succeeds(rsm_memseg_import_unmap(import)));
  EXPECT_TRUE(Succeeds(rsm_memseg_import_disconnect(import)));
  EXPECT_TRUE(Succeeds(rsm_memseg_export_unpublish(segment)));
  EXPECT_TRUE(Succeeds(Publish(segment, test_support::kSegment, 0444))) << "for reading";
  EXPECT_TRUE(Succeeds(Connect(import, RSM_PERM_READ)));
  EXPECT_TRUE(Succeeds(rsm_memseg_import_get64(import, 0, &word, 1)));
  EXPECT_TRUE(Succeeds(rsm_memseg_import_disconnect(import)));
  EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(segment)));
  EXPECT_EQ(words[0], 18u);
}

TEST(MainThreadEnd, LeavesSegmentsToBeMade) {
  SkipUnlessWritersCanBeStopped();
  if (IsSkipped()) return;
  const RsmFolder folder;
  const TaggedMemory memory(kPages, 1);
  RunWithoutMainThread([] {}, [&] { UseNewSegment(memory.address(), RSM_ALLOW_REBIND); });
  EXPECT_EQ(folder.CountNames(), 0u);
}

TEST(MainThreadEnd, LeavesSegmentsOfMemoryThatIsSharedToBeMade) {
  const RsmFolder folder;
  const SysVSegment memory(kPages);
  RunWithoutMainThread([] {}, [&] { UseNewSegment(memory.page(0), 0); });
  EXPECT_EQ(folder.CountNames(), 0u);
}

TEST(MainThreadEnd, LeavesSegmentsAndConnectionsThatAreThere) {
  SkipUnlessWritersCanBeStopped();
  if (IsSkipped()) return;
  const RsmFolder folder;
  const TaggedMemory memory(kPages, 1), other(kPages, 2);
  rsm_memseg_export_handle_t segment = nullptr;
  rsm_memseg_import_handle_t import = nullptr;
  RunWithoutMainThread(
      [&] {
        ASSERT_TRUE(Succeeds(Create(segment, memory.address(), memory.bytes())));
        ASSERT_TRUE(Succeeds(Publish(segment)));
        ASSERT_TRUE(Succeeds(Connect(import)));
      },
      [&] {
        uint64_t word = 0;
        EXPECT_TRUE(Succeeds(rsm_memseg_import_get64(import, 0, &word, 1)));
        EXPECT_EQ(word, memory.words()[0]);
        EXPECT_TRUE(Succeeds(rsm_memseg_export_rebind(segment, other.address(), 0, other.bytes())));
        EXPECT_TRUE(Succeeds(rsm_memseg_import_get64(import, 0, &word, 1)));
        EXPECT_EQ(word, other.words()[0]);
        EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(segment)));
        EXPECT_TRUE(FailsWith(RSMERR_CONN_ABORTED, rsm_intr_signal_post(import, 0)));
        EXPECT_TRUE(Succeeds(rsm_memseg_import_disconnect(import)));
        EXPECT_TRUE(memory.IsIntact());
        EXPECT_TRUE(other.IsIntact());
      });
  EXPECT_EQ(folder.CountNames(), 0u);
}

}  // namespace
