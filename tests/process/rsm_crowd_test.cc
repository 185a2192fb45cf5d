// Many at once: exporters that want the same number, importers that connect, forks in the midst of it.

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <list>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "rsm/rsmapi.h"
#include "tests/support/child.h"
#include "tests/support/other_process.h"
#include "tests/support/rsm_folder.h"
#include "tests/support/rsm_setting.h"
#include "tests/support/sanitizer.h"
#include "tests/support/tagged_memory.h"
#include "tests/support/test_segment.h"

namespace {

using test_support::Connect;
using test_support::CountDescriptors;
using test_support::Create;
using test_support::Eventually;
using test_support::FailsWith;
using test_support::ImportersOf;
using test_support::Line;
using test_support::OtherProcess;
using test_support::Publish;
using test_support::RsmFolder;
using test_support::RunInChild;
using test_support::SkipUnlessWritersCanBeStopped;
using test_support::Succeeds;
using test_support::TaggedMemory;

constexpr bool kSanitizer = test_support::kAddressSanitizer || test_support::kThreadSanitizer;
constexpr size_t kPages = 8;
size_t Bytes() { return kPages * test_support::PageSize(); }

// Processes that begin at once. The last is ended first: it has the lines of those before it.
class Crowd {
 public:
  Crowd() { EXPECT_EQ(pipe2(start_, O_CLOEXEC), 0) << std::strerror(errno); }
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;
  ~Crowd() {
    Begin();
    (void)close(start_[0]);
    while (!processes_.empty()) processes_.pop_back();
  }
  // `body` says something when it is ready, and then awaits the start.
  void Add(const std::function<void(const Line&)>& body) {
    processes_.emplace_back([&](const Line& line) {
      (void)close(start_[1]);
      body(line);
    });
  }
  // When nobody can write to the pipe any more.
  void AwaitStart() const {
    char none;
    EXPECT_EQ(read(start_[0], &none, 1), 0);
  }
  void Start() {
    for (const OtherProcess& process : processes_) ASSERT_EQ(process.Hear(), 1u);
    Begin();
  }
  const std::list<OtherProcess>& processes() const { return processes_; }

 private:
  void Begin() { (void)close(std::exchange(start_[1], -1)); }

  int start_[2] = {-1, -1};
  std::list<OtherProcess> processes_;
};

// Those of the round before have ended without taking their name away.
TEST(RsmSharing, OneOfSeveralExportersGetsTheNumber) {
  constexpr int kRounds = kSanitizer ? 10 : 40;
  constexpr size_t kExporters = 4;
  const RsmFolder folder;
  for (int round = 0; round < kRounds; ++round) {
    SCOPED_TRACE(round);
    Crowd crowd;
    for (size_t i = 0; i < kExporters; ++i) {
      crowd.Add([&](const Line& line) {
        TaggedMemory memory(1, 1);
        rsm_memseg_export_handle_t segment = nullptr;
        ASSERT_TRUE(Succeeds(Create(segment, memory.address(), memory.bytes())));
        line.Say(1);
        crowd.AwaitStart();
        const int code = Publish(segment);
        EXPECT_TRUE(code == RSM_SUCCESS || FailsWith(RSMERR_SEGID_IN_USE, code)) << rsm_error();
        line.Say(code == RSM_SUCCESS ? 1 : 0);
        (void)line.Hear();
      });
    }
    ASSERT_NO_FATAL_FAILURE(crowd.Start());
    uint64_t published = 0;
    for (const OtherProcess& exporter : crowd.processes()) published += exporter.Hear();
    EXPECT_EQ(published, 1u);
    EXPECT_EQ(folder.CountNames(), 1u);
    EXPECT_EQ(ImportersOf(), 0) << "it can be reached";
  }
}

TEST(RsmSharing, ManyImportersConnectAtOnce) {
  constexpr size_t kImporters = kSanitizer ? 70 : 200;
  const RsmFolder folder;
  OtherProcess exporter([&](const Line& line) {
    TaggedMemory memory(kPages, 1);
    rsm_memseg_export_handle_t segment = nullptr;
    ASSERT_TRUE(Succeeds(Create(segment, memory.address(), Bytes())));
    ASSERT_TRUE(Succeeds(Publish(segment)));
    const size_t descriptors = CountDescriptors();
    line.Say(1);
    ASSERT_EQ(line.Hear(), 2u);
    uint64_t puts = 0;
    for (size_t i = 0; i < kImporters; ++i) puts += memory.words()[i];
    EXPECT_EQ(puts, kImporters * (kImporters + 1) / 2) << "each has put its number";
    EXPECT_TRUE(Eventually([&] { return CountDescriptors() == descriptors; }))
        << CountDescriptors();
    EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(segment)));
  });
  ASSERT_EQ(exporter.Hear(), 1u);
  {
    Crowd crowd;
    for (size_t i = 0; i < kImporters; ++i) {
      crowd.Add([&, i](const Line& line) {
        (void)test_support::RsmController();
        rsm_memseg_import_handle_t import = nullptr;
        uint64_t word = i + 1;
        line.Say(1);
        crowd.AwaitStart();
        ASSERT_TRUE(Succeeds(Connect(import)));
        EXPECT_TRUE(Succeeds(
            rsm_memseg_import_put64(import, static_cast<off_t>(i * sizeof(word)), &word, 1)));
        line.Say(2);
        (void)line.Hear();
      });
    }
    ASSERT_NO_FATAL_FAILURE(crowd.Start());
    for (const OtherProcess& importer : crowd.processes()) EXPECT_EQ(importer.Hear(), 2u);
    EXPECT_EQ(ImportersOf(), static_cast<int>(kImporters));
  }
  EXPECT_TRUE(Eventually([] { return ImportersOf() == 0; })) << ImportersOf();
  exporter.Say(2);
}

// --- Forks -----------------------------------------------------------------------------------------

// Exports and imports again and again, under numbers that the system chooses.
void ExportOften(const std::atomic<bool>& ends, std::atomic<uint64_t>& rounds) {
  const TaggedMemory memory(kPages, 1);
  while (!ends.load()) {
    rsm_memseg_export_handle_t segment = nullptr;
    rsm_memseg_import_handle_t import = nullptr;
    rsm_memseg_id_t number = 0;
    ASSERT_TRUE(Succeeds(Create(segment, memory.address(), Bytes())));
    ASSERT_TRUE(Succeeds(rsm_memseg_export_publish(segment, &number, nullptr, 0)));
    ASSERT_TRUE(Succeeds(Connect(import, RSM_PERM_RDWR, number)));
    uint64_t word = 0;
    EXPECT_TRUE(Succeeds(rsm_memseg_import_get64(import, 0, &word, 1)));
    EXPECT_EQ(word, memory.words()[0]);
    EXPECT_TRUE(Succeeds(rsm_memseg_import_disconnect(import)));
    EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(segment)));
    ++rounds;
  }
}

TEST(RsmSharing, AProcessForksWhileItsThreadsCreateAndDestroy) {
  if (test_support::kAddressSanitizer) {
    GTEST_SKIP() << "a child may find the sanitizer's allocator locked, by threads that it has not";
  }
  constexpr int kForks = kSanitizer ? 10 : 40;
  const RsmFolder folder;
  SkipUnlessWritersCanBeStopped();
  if (IsSkipped()) return;
  const OtherProcess process([&](const Line& line) {
    std::atomic<bool> ends = false;
    std::atomic<uint64_t> rounds = 0;
    TaggedMemory memory(kPages, 1);
    rsm_memseg_export_handle_t segment = nullptr;
    ASSERT_TRUE(Succeeds(Create(segment, memory.address(), Bytes())));
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) threads.emplace_back([&] { ExportOften(ends, rounds); });
    for (int i = 0; i < kForks; ++i) {
      RunInChild([&] {
        EXPECT_TRUE(FailsWith(RSMERR_NOT_CREATOR, rsm_memseg_export_destroy(segment)));
        std::atomic<uint64_t> round = 0;
        std::atomic<bool> end = false;
        std::thread thread([&] { ExportOften(end, round); });
        EXPECT_TRUE(Eventually([&] { return round.load() > 0; })) << "it exports by itself";
        end.store(true);
        thread.join();
      });
    }
    ends.store(true);
    for (std::thread& thread : threads) thread.join();
    EXPECT_GT(rounds.load(), 0u);
    EXPECT_TRUE(memory.IsIntact());
    EXPECT_TRUE(Succeeds(rsm_memseg_export_destroy(segment)));
    line.Say(1);
  });
  EXPECT_EQ(process.Hear(), 1u);
}

}  // namespace
